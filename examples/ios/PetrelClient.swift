// A Petrel client for iOS: registers its device token, connects, hands each message over once and in order, acknowledges,
// and comes back. Written from docs/receive/protocol.md. iOS 15 and newer; no packages.
//
// What it leaves out: topics, several addresses, moving before a node stops (it waits for the close and resumes).
import Foundation

public struct PetrelMessage: Decodable, Sendable {
    public let id: String
    public let seq: Int64
    public let at: String
    /// The frame as it came; read your own `data` out of it.
    public var frame = Data()

    private enum CodingKeys: String, CodingKey { case id, seq, at }
}

public actor PetrelClient {
    public enum Ended: Error, Sendable {
        /// Signed out elsewhere, revoked, replaced, or a fault of this client: never connect again by yourself.
        case stopped(code: Int)
    }

    /// A fresh access token from your backend. Throw to try again later.
    public typealias GetToken = @Sendable () async throws -> String
    /// Store the message before you return: then it is acknowledged.
    public typealias OnMessage = @Sendable (PetrelMessage) async throws -> Void

    private struct Frame: Decodable {
        let type: String
        let topic: String?
        let epoch: String?
        let after: Int64?
        let resumed: Bool?
        let pingSeconds: Double?
        let inSeconds: Double?
        let action: String?
        let on: String?
    }

    private enum Next { case resume, refresh, backOff, stop }

    private let node: URL
    private let auth: URL
    private let getToken: GetToken
    private let onMessage: OnMessage
    private let store: UserDefaults
    private let session = URLSession(configuration: .default)
    private var socket: URLSessionWebSocketTask?

    private var token: String?
    private var epoch: String?
    /// Everything up to here was handled, and up to there was received.
    private var position: Int64 = 0
    private var received: Int64 = 0
    /// The newest ids that were handed over: a message may come again under another number.
    private var knownIds: [String] = []
    private var known: Set<String> = []
    private var failures = 0

    /// - Parameters:
    ///   - node: wss://…/v1/connect
    ///   - auth: https://auth.…
    public init(
        node: URL, auth: URL, store: UserDefaults = .standard,
        getToken: @escaping GetToken, onMessage: @escaping OnMessage
    ) {
        self.node = node
        self.auth = auth
        self.store = store
        self.getToken = getToken
        self.onMessage = onMessage
        epoch = store.string(forKey: "petrel.epoch")
        position = (store.object(forKey: "petrel.position") as? NSNumber)?.int64Value ?? 0
        received = position
    }

    /// Call it in `didRegisterForRemoteNotificationsWithDeviceToken`, at every launch.
    public func register(deviceToken: Data, topic: String, environment: String) async throws {
        var request = URLRequest(url: auth.appendingPathComponent("v1/devices"))
        request.httpMethod = "PUT"
        request.setValue("Bearer \(try await currentToken())", forHTTPHeaderField: "Authorization")
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        let hex = deviceToken.map { String(format: "%02x", $0) }.joined()
        request.httpBody = try JSONSerialization.data(withJSONObject: [
            "platform": "ios", "token": hex, "topic": topic, "environment": environment,
        ])
        let (_, response) = try await session.data(for: request)
        guard (response as? HTTPURLResponse)?.statusCode == 204 else { throw URLError(.badServerResponse) }
    }

    /// Runs until the task is cancelled, or the server says that this client must stop.
    public func run() async throws {
        while !Task.isCancelled {
            let began = Date()
            let next = await connectOnce()
            if Date().timeIntervalSince(began) > 5 { failures = 0 }
            switch next {
            case .stop: throw Ended.stopped(code: socket?.closeCode.rawValue ?? 0)
            case .refresh:
                token = nil
                if failures > 0 { try await wait(seconds: .random(in: 0...min(30, 0.5 * pow(2, Double(failures))))) }
            case .resume: try await wait(seconds: .random(in: 0...min(30, 0.5 * pow(2, Double(failures)))))
            case .backOff:
                let longest = min(120, 5 * pow(2, Double(failures)))
                try await wait(seconds: .random(in: longest / 2...longest))
            }
            failures = min(failures + 1, 20)
        }
    }

    /// The user signs out: from now on messages go to their phone at once.
    public func signOut() {
        socket?.cancel(with: .normalClosure, reason: nil)
    }

    /// The app goes into the background and may be back.
    public func suspend() {
        socket?.cancel(with: .goingAway, reason: nil)
    }

    private func wait(seconds: Double) async throws {
        try await Task.sleep(nanoseconds: UInt64(seconds * 1_000_000_000))
    }

    private func currentToken() async throws -> String {
        if let token { return token }
        let fresh = try await getToken()
        token = fresh
        return fresh
    }

    private func connectOnce() async -> Next {
        guard let bearer = try? await currentToken() else { return .backOff }
        var address = URLComponents(url: node, resolvingAgainstBaseURL: false)!
        if let epoch {
            address.queryItems = [
                URLQueryItem(name: "epoch", value: epoch), URLQueryItem(name: "since", value: String(position)),
            ]
        }
        var request = URLRequest(url: address.url!)
        request.timeoutInterval = 10
        request.setValue("Bearer \(bearer)", forHTTPHeaderField: "Authorization")
        let task = session.webSocketTask(with: request)
        task.maximumMessageSize = 128 * 1024
        socket = task
        task.resume()
        var lastAction: String?
        var pings: Task<Void, Never>?
        defer {
            pings?.cancel()
            task.cancel(with: .goingAway, reason: nil)
        }
        // The highest number that this connection has sent: no ack may be higher.
        var sent: Int64 = 0
        do {
            while true {
                let text: Data
                switch try await task.receive() {
                case .string(let string): text = Data(string.utf8)
                case .data: continue
                @unknown default: continue
                }
                guard let frame = try? JSONDecoder().decode(Frame.self, from: text) else { continue }
                switch frame.type {
                case "welcome":
                    sent = frame.after ?? 0
                    if frame.resumed != true {
                        epoch = frame.epoch
                        position = sent
                        received = sent
                        keep()
                    }
                    pings = keepAlive(task, every: frame.pingSeconds ?? 25)
                case "message" where frame.topic == nil:
                    guard var message = try? JSONDecoder().decode(PetrelMessage.self, from: text) else { continue }
                    message.frame = text
                    sent = max(sent, message.seq)
                    try await handle(message)
                    try await task.send(.string(#"{"type":"ack","seq":\#(min(sent, position))}"#))
                case "token_expiring":
                    // A token with little left: half of its time first, so that short ones do not become a stream.
                    let left = frame.inSeconds ?? 30
                    if left < 25 { try await wait(seconds: left / 2) }
                    token = nil
                    let fresh = try await currentToken()
                    let body = try JSONEncoder().encode(["type": "token", "token": fresh])
                    try await task.send(.string(String(decoding: body, as: UTF8.self)))
                case "error" where frame.on == nil: lastAction = frame.action
                default: break
                }
            }
        } catch {
            return next(task.closeCode.rawValue, lastAction, (task.response as? HTTPURLResponse)?.statusCode)
        }
    }

    private func handle(_ message: PetrelMessage) async throws {
        // A copy: acknowledged again, as the earlier ack may be lost.
        if message.seq <= received { return }
        if !known.contains(message.id) {
            try await onMessage(message)
            known.insert(message.id)
            knownIds.append(message.id)
            if knownIds.count > 10_000 { known.remove(knownIds.removeFirst()) }
        }
        received = message.seq
        position = message.seq
        keep()
    }

    private func keep() {
        store.set(epoch, forKey: "petrel.epoch")
        store.set(NSNumber(value: position), forKey: "petrel.position")
    }

    /// Drops a socket whose server does not answer a ping before the next one.
    private func keepAlive(_ task: URLSessionWebSocketTask, every seconds: Double) -> Task<Void, Never> {
        Task {
            while !Task.isCancelled {
                let answered = Answer()
                task.sendPing { error in if error == nil { answered.set() } }
                guard (try? await Task.sleep(nanoseconds: UInt64(seconds * 1_000_000_000))) != nil else { return }
                if !answered.isSet { return task.cancel(with: .abnormalClosure, reason: nil) }
            }
        }
    }

    private func next(_ code: Int, _ action: String?, _ status: Int?) -> Next {
        if let status, status >= 400 { return [400, 403, 426].contains(status) ? .stop : .backOff }
        switch code {
        case 1001, 1011, 1012, 1013, 4408: return .resume
        case 4401: return .refresh
        case 1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409: return .stop
        // No close frame: the network, unless an error came before it.
        case 0, 1005, 1006:
            switch action {
            case "refresh": return .refresh
            case "backoff": return .backOff
            case "stop": return .stop
            default: return .resume
            }
        default: return .backOff
        }
    }
}

/// Whether a ping was answered.
private final class Answer: @unchecked Sendable {
    private let lock = NSLock()
    private var answered = false

    var isSet: Bool { lock.withLock { answered } }
    func set() { lock.withLock { answered = true } }
}
