// The text of `--help`.
// Guarantees: has every command and option; a test compares it with the commands.

const address = `
Which cluster (an option wins over the environment, that over the file):
  --config FILE    a dev.json, as npm start writes it        PETREL_DEV_JSON
                   (default: .data/dev.json here or above)
  --auth URL       auth, such as https://auth.example.test   PETREL_AUTH_URL
  --collect URL    collect                                   PETREL_COLLECT_URL
  --dispatch URL   dispatch                                  PETREL_DISPATCH_URL
  --node URL       push node, wss://…/v1/connect; repeatable PETREL_NODE_URL
  --key KEY.SECRET producer key; better in the environment,  PETREL_KEY
                   where other users do not see it
  --sign           sign each request with the key, instead of sending its secret

Exit codes: 0 done, 1 not done, 2 the command line is wrong.`;

export const generalHelp = `petrel: talks to a Petrel cluster

  petrel listen USER       show a user's messages as they arrive
  petrel send USER JSON    send a message to a user
  petrel token USER        print an access token for a user
  petrel tokens revoke     end a user's tokens and sockets, or one token's
  petrel keys …            producer keys: list, create, rotate, revoke
  petrel signing-keys …    the keys that sign users' tokens: list, rotate
  petrel devices …         where a user can be reached: list, register, delete
  petrel dead-letters …    messages whose fallback failed: list, show, replay, delete, purge
  petrel audit             who did what: keys, tokens, kicks, replays, erasures
  petrel redis failover    a planned failover of Redis behind Sentinel that loses nothing

petrel COMMAND --help says more. petrel --version prints the version.`;

export const commandHelp = {
  listen: `petrel listen USER: shows a user's messages as they arrive, until Ctrl-C

  --ack handled    acknowledge what was shown (default)
        auto       let the server take sent for acknowledged
        manual     Enter acknowledges all that was shown, a number and Enter up to that seq
        none       acknowledge nothing
  --epoch E --since N
                   resume after message N of epoch E (both, or none)
  --count N        end after N messages
  --json           print each message as one line of JSON
${address}`,
  send: `petrel send USER JSON: sends a message to a user and prints its id

  JSON is any JSON in one argument, such as '{"text":"hello"}'; - reads it from the standard input.

  --ttl SECONDS    how long it is worth delivering
  --idempotency-key K
                   the same key and content again is the same message, stored once
  --wait           wait for its end; 1 where that is expired, cancelled or failed
  --wait-seconds N at most this long (60)
  --json           print the answers as lines of JSON
${address}`,
  token: `petrel token USER: prints an access token for a user

  --ttl SECONDS    how long it is good for
  --json           print the whole answer
${address}`,
  tokens: `petrel tokens revoke: ends tokens before their time; the key needs the scope tokens

  petrel tokens revoke --user U    all of the user's so far: tokens, refresh tokens, sockets
  petrel tokens revoke --jti J     this token and its sockets
  petrel tokens revoke --token T   the same, by the token itself

  --user U         the user's id
  --jti J          the token's claim of that name
  --exp E          with --jti: the claim of that name, Unix time in seconds. The token is remembered until then; without
                   it for the longest life of a token. More than a day counts as ten in the key's limit
  --token T        the whole token; - reads it from the standard input. Counts in no limit
  --json           print nothing
${address}`,
  "signing-keys": `petrel signing-keys: the keys that sign users' tokens; the key that asks needs the scope admin

  petrel signing-keys list
  petrel signing-keys rotate       bring the next one: published now, signing a while later

  --immediately    for a compromised key: the new one signs at once, and no token by any other is good any more
  --json           print each key as a line of JSON
${address}`,
  keys: `petrel keys: the keys of business systems; the key that asks needs the scope admin

  petrel keys list
  petrel keys create --name NAME --scopes send,read
  petrel keys rotate ID            give it a new secret
  petrel keys revoke ID            for good

  --name NAME      for people: what the key is for
  --scopes S,S     of send, read, tokens, devices, introspect, admin
  --owner O        the business system behind it (default: that of the key that asks)
  --signing        it may sign its requests
  --require-signature
                   its requests must be signed
  --messages-per-second N
                   its own limit, or unlimited; with 0 it may send nothing
  --overlap-seconds N
                   rotate: how long the old secret stays good (0)
  --json           print each key as a line of JSON

create and rotate print KEY.SECRET, once; nobody can be asked for it again.
${address}`,
  devices: `petrel devices: where a user can be reached without a socket; the key needs the scope devices

  petrel devices list USER
  petrel devices register USER --token T --topic BUNDLE_ID --environment production|sandbox
  petrel devices register USER --platform wechat --openid O --appid A
  petrel devices delete USER ID

  --platform P     ios (default) or wechat
  --token T        ios: the APNs device token, in hex
  --topic B        ios: the app's bundle id
  --environment E  ios: production or sandbox
  --openid O       wechat: the user's openid
  --appid A        wechat: the app's id
  --json           print each device as a line of JSON
${address}`,
  audit: `petrel audit: who did what to whom, newest first; the key needs the scope admin

  --actor A        such as key:ID or user:ID
  --action A       such as key.revoke
  --target T       the id of what was acted on
  --limit N        list at most N (50)
  --all            list all
  --json           print each act as a line of JSON
${address}`,
  redis: `petrel redis failover: lets a replica take over from Redis' master behind Sentinel, and loses nothing

Pauses writes at the master, waits until the replicas have all there is, asks a sentinel for the failover, makes the old
master a replica and lets writes go on: some two seconds, in which services wait. Without this, SENTINEL FAILOVER loses
what the old master still takes. It needs the permissions of an administrator (CLIENT, REPLICAOF, INFO), which the user of
the services does not have.

  --sentinels NAME@HOST:PORT,HOST:PORT
                   the master's name, and who watches it     REDIS_SENTINELS
  --url URL        redis:// or rediss:// with user and password; its host does not count
                                                             REDIS_URL
  --password-file FILE
                   Redis' password, instead of one in --url  REDIS_PASSWORD_FILE
  --ca-file FILE   the authority of rediss:// servers        REDIS_CA_FILE
  --cert-file FILE, --key-file FILE
                   the certificate to show to servers that ask for one
                                                             REDIS_CERT_FILE, REDIS_KEY_FILE
                   the sentinels' own password               REDIS_SENTINEL_PASSWORD, REDIS_SENTINEL_PASSWORD_FILE
  --pause-seconds N
                   how long writes wait where this command dies in the middle (5)
  --deadline-seconds N
                   give up, and let writes go on, where a step takes longer (20)
  --json           print the outcome as a line of JSON

On a Redis Cluster nothing is needed: redis-cli CLUSTER FAILOVER, at the replica that is to take over, loses nothing.

Exit codes: 0 done, 1 not done, 2 the command line is wrong.`,
  "dead-letters": `petrel dead-letters: messages whose fallback failed for good; the key needs the scope admin

  petrel dead-letters list         newest first
  petrel dead-letters show ID      one, with its notification and what was tried
  petrel dead-letters replay ID    try its message again; or all of a cause, with --cause
  petrel dead-letters delete ID    forget it; its message stays failed
  petrel dead-letters purge        forget all of a cause, with --cause, or all there are, with --all

  --cause C        rejected, attempts-exhausted or misconfigured
  --limit N        list at most N (50)
  --all            list all; purge all
  --json           print the answers as lines of JSON
${address}`,
} as const;

export type CommandName = keyof typeof commandHelp;
