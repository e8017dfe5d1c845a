// The text of `--help`.
// Guarantees: has every command and option; a test compares it with the commands.

const address = `
Which cluster (options override the environment, which overrides the file):
  --config FILE    a dev.json written by npm start           PETREL_DEV_JSON
                   (default: .data/dev.json here or above)
  --auth URL       auth, such as https://auth.example.test   PETREL_AUTH_URL
  --collect URL    collect                                   PETREL_COLLECT_URL
  --dispatch URL   dispatch                                  PETREL_DISPATCH_URL
  --node URL       push node, wss://…/v1/connect; repeatable PETREL_NODE_URL
  --key KEY.SECRET producer key; use the environment to      PETREL_KEY
                   hide it from other users
  --sign           sign each request with the key instead of sending its secret

Exit codes: 0 success, 1 failure, 2 wrong command line.`;

export const generalHelp = `petrel: talks to a Petrel cluster

  petrel listen USER       show a user's messages as they arrive, and those of topics
  petrel send USER JSON    send a message to a user, to a topic, or to everyone
  petrel why MESSAGE       show what became of a message, and why
  petrel user ID           show a user's connections, devices and inbox, and what the newest messages became
  petrel doctor            check the whole cluster: what is wrong, and how to fix it
  petrel cancel ID         cancel a message
  petrel scheduled USER    list a user's scheduled messages
  petrel events            show what became of messages, and who is online
  petrel topic TOPIC       show a topic's position, and who is in it
  petrel token USER        print an access token for a user
  petrel tokens revoke     end a user's tokens and sockets, or one token
  petrel keys …            producer keys: list, create, rotate, suspend, resume, limit, revoke
  petrel signing-keys …    the keys that sign users' tokens: list, rotate
  petrel web-push-key      make the key that names a cluster to browsers' push services
  petrel devices …         a user's devices: list, register, add-web, add-wechat, delete
  petrel nodes             list the push nodes: connections, release, which drain
  petrel drain NODE        ask a push node to drain, or undo that
  petrel channels …        the fallback channels: list, pause, resume
  petrel dead-letters …    messages that failed for good: list, show, replay, delete, purge
  petrel webhooks …        addresses that events are posted to: list, create, test, pause, replay, …
  petrel archive …         the message archive: status, redrive
  petrel audit             who did what: keys, tokens, disconnects, replays, erasures
  petrel redis failover    fail over Redis behind Sentinel without losing a write

Run petrel COMMAND --help for details. petrel --version prints the version.`;

export const commandHelp = {
  listen: `petrel listen USER: shows a user's messages as they arrive, until Ctrl-C

  --ack handled    acknowledge each message once it is shown (default)
        auto       the server counts sent messages as acknowledged
        manual     press Enter to acknowledge everything shown, or type a seq and press Enter
        none       acknowledge nothing
  --epoch E --since N
                   resume after message N of epoch E (both, or none)
  --topic T        also show what is published to topic T; repeatable. '$all' is what is sent to everyone
  --history        with --topic: first show what the topic keeps
  --presence       with --topic: also show who is there when that changes, if the topic's rule allows it
  --count N        stop after N messages
  --json           print each message as one line of JSON
${address}`,
  send: `petrel send: sends a message and prints its id

  petrel send USER JSON
  petrel send --topic T JSON       to everyone in topic T
  petrel send --all JSON           to everyone; the key also needs the scope admin

  JSON is any JSON in one argument, such as '{"text":"hello"}'; - reads it from standard input.

  --topic T, --all
                   see above
  --at TIME        not before this time: 2030-01-01T09:00:00Z, or +90s, +10m, +2h, +1d from now
  --ttl SECONDS    when the message expires
  --idempotency-key K
                   a repeat with the same key and content is stored once
  --wait           wait for the outcome; exit with 1 if it is expired, cancelled or failed
  --wait-seconds N how long to wait (60)
  --json           print the answers as lines of JSON
${address}`,
  why: `petrel why MESSAGE: shows what became of a message and why, in plain words; the key needs the scope read

  For example: was it delivered, and how late; was it pushed, by which channel, or why not; what is it waiting for.

  --json           print the answer, with the sentences as "why", as a line of JSON
${address}`,
  user: `petrel user ID: shows a user's connections, devices, inbox, and what the newest ten messages became and why

The key needs the scope read. Ask collect on the cluster's own network: a way in from outside may refuse this.

  --json           print the user, then each message, as lines of JSON
${address}`,
  doctor: `petrel doctor: checks the whole cluster, and says what is wrong and how to fix it; the key needs the scope admin

It asks each service that is named, dispatch for what it sees of Redis, partitions, lag and the fallback channels, and
auth for its keys. --auth, --collect and --dispatch may be repeated: each process is asked. If dispatch does not run,
--redis-url looks at Redis from here. It changes nothing, and reaches no phone and no browser.

  --redis-url URL  also look at this Redis itself: redis:// or rediss://   REDIS_URL
                   its password and certificates may be in files           REDIS_PASSWORD_FILE, REDIS_CA_FILE,
                                                                           REDIS_CERT_FILE, REDIS_KEY_FILE
  --partitions N   with it: the number the services are set to             PARTITIONS
  --metrics URL    also look at a service's metrics (METRICS_PORT); repeatable
  --verbose        also say what is fine
  --json           print every finding, also what is fine, as lines of JSON: check, level (ok, warning, error, skipped),
                   says, mend

Exits with 1 if anything is wrong; warnings alone exit with 0.
${address}`,
  cancel: `petrel cancel ID: cancels a scheduled message, or one that no client acknowledged and no fallback took

  Clients that were sent it are told. Exits with 1, and says why, if it is too late.

  --json           print the result as a line of JSON
${address}`,
  scheduled: `petrel scheduled USER: lists a user's scheduled messages, by time

  --limit N        list at most N; all by default
  --json           print each message as a line of JSON
${address}`,
  events: `petrel events: shows what became of messages, and who is online, in order for each user

  --follow         wait for further events, until Ctrl-C
  --after CURSOR   continue where an earlier call stopped; now: only what happens from now on
                   (default: the oldest event that is kept)
  --types T,T      only these types, such as message.failed,message.expired
  --count N        stop after N events
  --json           print each event as a line of JSON
${address}`,
  token: `petrel token USER: prints an access token for a user

  --ttl SECONDS    how long it is valid
  --topics LIST    its rights to topics: patterns such as 'room.*,chat.7/subscribe+publish+presence';
                   without rights, subscribe
  --json           print the whole answer
${address}`,
  topic: `petrel topic TOPIC: shows a topic's position, and who is in it if its rule has presence

  --messages       also show the messages it keeps
  --json           print each part as a line of JSON
${address}`,
  tokens: `petrel tokens revoke: ends tokens before they expire; the key needs the scope tokens

  petrel tokens revoke --user U    all tokens and refresh tokens the user has now, and their sockets
  petrel tokens revoke --jti J     one token and its sockets
  petrel tokens revoke --token T   the same, given the token itself

  --user U         the user's id
  --jti J          the token's jti claim
  --exp E          with --jti: the token's exp claim, Unix time in seconds. auth remembers the token until then; without
                   --exp, for the longest life of a token. More than a day counts as ten against the key's limit
  --token T        the whole token; - reads it from standard input. Counts against no limit
  --json           print nothing
${address}`,
  "signing-keys": `petrel signing-keys: the keys that sign users' tokens; your key needs the scope admin

  petrel signing-keys list
  petrel signing-keys rotate       add the next key: published now, used for signing a while later

  --immediately    for a compromised key: the new key signs at once, and tokens signed by any other key are refused
  --json           print each key as a line of JSON
${address}`,
  "web-push-key": `petrel web-push-key: makes the key for VAPID_KEY_FILE, and prints it as PEM

  petrel web-push-key > web-push-key.pem

Make it once: browsers that subscribed with one key get nothing sent with another. This calls no cluster.`,
  keys: `petrel keys: the keys of business systems; your key needs the scope admin

  petrel keys list
  petrel keys create --name NAME --scopes send,read
  petrel keys rotate ID            give it a new secret
  petrel keys suspend ID           refuse its requests (403 PETREL_KEY_SUSPENDED), within two seconds
  petrel keys resume ID            let it be used again
  petrel keys limit ID N           N messages per second; or unlimited, or default for the common limit; 0: nothing
  petrel keys revoke ID            end it for good

  --name NAME      what the key is for
  --scopes S,S     any of send, read, tokens, devices, introspect, admin
  --owner O        the business system behind it (default: that of your own key)
  --signing        it may sign its requests
  --require-signature
                   its requests must be signed
  --messages-per-second N
                   its own limit, or unlimited; 0 lets it send nothing
  --overlap-seconds N
                   rotate: how long the old secret still works (0)
  --json           print each key as a line of JSON

create and rotate print KEY.SECRET once. It cannot be shown again.
${address}`,
  devices: `petrel devices: the devices that can reach a user without a socket; the key needs the scope devices

  petrel devices list USER
  petrel devices register USER --token T --topic BUNDLE_ID --environment production|sandbox
  petrel devices add-wechat USER --openid O --appid A
  petrel devices add-web USER SUBSCRIPTION
  petrel devices delete USER ID

  --platform P     ios (default) or wechat
  --token T        ios: the APNs device token, in hex
  --topic B        ios: the app's bundle id
  --environment E  ios: production or sandbox
  --openid O       wechat: the user's openid
  --appid A        wechat: the app's id
  SUBSCRIPTION     what a browser's subscription.toJSON() gives, as JSON; - reads standard input
  --json           print each device as a line of JSON
${address}`,
  audit: `petrel audit: who did what to whom, newest first; the key needs the scope admin

  --actor A        such as key:ID or user:ID
  --action A       such as key.revoke
  --target T       the id of what was acted on
  --limit N        list at most N (50)
  --all            list all
  --json           print each entry as a line of JSON
${address}`,
  redis: `petrel redis failover: promotes a replica of a Redis behind Sentinel, and loses nothing

It pauses writes at the master, waits until the replicas have everything, asks a sentinel for the failover, makes the
old master a replica, and lets writes continue. That takes about two seconds, in which services wait. A bare SENTINEL
FAILOVER loses what the old master still accepts. The command needs an administrator's permissions (CLIENT, REPLICAOF,
INFO), which the services' user does not have.

  --sentinels NAME@HOST:PORT,HOST:PORT
                   the master's name, and its sentinels      REDIS_SENTINELS
  --url URL        redis:// or rediss:// with user and password; its host is ignored
                                                             REDIS_URL
  --password-file FILE
                   Redis' password, instead of one in --url  REDIS_PASSWORD_FILE
  --ca-file FILE   the authority of rediss:// servers        REDIS_CA_FILE
  --cert-file FILE, --key-file FILE
                   the certificate to show to servers that ask for one
                                                             REDIS_CERT_FILE, REDIS_KEY_FILE
                   the sentinels' own password               REDIS_SENTINEL_PASSWORD, REDIS_SENTINEL_PASSWORD_FILE
  --pause-seconds N
                   how long writes wait if this command dies midway (5)
  --deadline-seconds N
                   give up, and let writes continue, if a step takes longer (20)
  --json           print the outcome as a line of JSON

A Redis Cluster does not need this: run redis-cli CLUSTER FAILOVER at the replica to promote. It loses nothing.

Exit codes: 0 success, 1 failure, 2 wrong command line.`,
  nodes: `petrel nodes: lists the push nodes with their connections, release and lease; the key needs the scope admin

  --json           print each node as a line of JSON
${address}`,
  drain: `petrel drain NODE: asks a push node to drain; the key needs the scope admin

  petrel drain NODE                NODE is an id of petrel nodes, or the name of one node

The node takes no new connections and asks its clients to move, over DRAIN_WINDOW_MS. It stays so until it is stopped, or
until --undo; a node that starts again is another one. Clients that were asked before --undo still move.

  --undo           let it take connections again
  --force          even if it is the last node that takes connections
  --wait           wait until it has no connection left
  --wait-seconds N for how long (120)
  --json           print the node as a line of JSON
${address}`,
  channels: `petrel channels: the fallback channels; the key needs the scope admin

  petrel channels list             what waits for each, and which are paused
  petrel channels pause CHANNEL    apns, web, wechat or webhook: its messages wait, in the whole cluster
  petrel channels resume CHANNEL

pause and resume return once every dispatcher has confirmed; sends in progress finish. Nothing is lost, but a
message that waits beyond its time to live expires. A pause outlasts restarts.

  --reason TEXT    pause: shown to those who find it paused
  --json           print each channel as a line of JSON
${address}`,
  "dead-letters": `petrel dead-letters: messages that failed for good; the key needs the scope admin

  petrel dead-letters list         newest first
  petrel dead-letters show ID      show one, with its notification and its attempts
  petrel dead-letters replay ID    retry one message, or all of a cause with --cause
  petrel dead-letters delete ID    delete one; its message stays failed
  petrel dead-letters purge        delete all of a cause with --cause, or all with --all

  --cause C        rejected, attempts-exhausted, misconfigured or inbox-full
  --limit N        list at most N (50)
  --all            list all; purge all
  --json           print the answers as lines of JSON
${address}`,
  archive: `petrel archive: the message archive; the key needs the scope admin

  petrel archive status    its state, and what it has sent again, by partition
  petrel archive redrive   search again for messages that Redis may have lost, and send them again

  --json           print the answers as lines of JSON
${address}`,
  webhooks: `petrel webhooks: addresses that events are posted to; the key needs the scope admin

  petrel webhooks list
  petrel webhooks create URL       prints its id and its secret, which cannot be shown again
  petrel webhooks show ID
  petrel webhooks update ID        with --url, --types or --description
  petrel webhooks pause ID         and resume ID, which continues where it stopped
  petrel webhooks rotate ID        a new secret; the old one also signs for another 24 hours
  petrel webhooks test ID          post one request now; exits with 1 if it is not accepted
  petrel webhooks replay ID        redeliver the events after a time or a cursor
  petrel webhooks attempts ID      the latest attempts, newest first
  petrel webhooks delete ID

  --types LIST     which events, separated by commas, or all (default): message.failed,message.expired
  --description D  what it is for
  --url URL        update: another address
  --after A        replay: a time such as 2030-01-01T09:00:00Z, or a cursor of GET /v1/events
  --limit N        attempts: at most N (50)
  --json           print the answers as lines of JSON
${address}`,
} as const;

export type CommandName = keyof typeof commandHelp;
