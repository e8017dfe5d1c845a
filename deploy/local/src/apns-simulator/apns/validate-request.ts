// The APNs simulator: judges a request as Apple does.
// Guarantees: checks one rule after the other in the order observed at Apple (that of pushy's mock server): headers,
// then path and device token, then the sender, then the payload. The first broken rule is the answer.
import { isUtf8 } from "node:buffer";
import { accepted, refusal, type ApnsAnswer } from "../state/apns-answer.js";
import type { Behaviour } from "../state/behaviour.js";
import type { ApnsEnvironment } from "../state/known-keys.js";
import type { ConnectionIdentity, ProviderTokens } from "../state/provider-tokens.js";
import { pushTypes, suffixOf } from "./push-types.js";
import type { SimulatedDevices } from "../state/simulated-devices.js";

/** A request as it arrived; absent headers are undefined. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly environment: ApnsEnvironment;
  readonly apnsId: string | undefined;
  readonly topic: string | undefined;
  readonly collapseId: string | undefined;
  readonly priority: string | undefined;
  readonly pushType: string | undefined;
  readonly expiration: string | undefined;
  readonly authorization: string | undefined;
  readonly hasDuplicateHeaders: boolean;
  /** May be cut beyond the largest payload. */
  readonly body: Buffer;
}

export interface ValidationContext {
  readonly devices: SimulatedDevices;
  readonly behaviour: Behaviour;
  readonly providerTokens: ProviderTokens;
}

/** How a connection has authenticated. */
export interface ConnectionCredential extends ConnectionIdentity {
  /** "none" without a client certificate. */
  readonly certificate: "none" | "unknown" | { readonly topic: string };
}

export interface Judgement {
  readonly answer: ApnsAnswer;
  /** In lower case; undefined if the request named none. */
  readonly deviceToken: string | undefined;
  readonly topic: string | undefined;
}

const pathPrefix = "/3/device/";
/** "The canonical form is 8-4-4-4-12"; Apple itself answers in upper case. */
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const topicPattern = /^[A-Za-z0-9.-]{1,255}$/;
/** Apple: of variable length, so far 32 bytes or more (those of Live Activities are longer). */
const deviceTokenPattern = /^([0-9a-f]{2}){32,100}$/i;
const MAX_COLLAPSE_ID_BYTES = 64;
/** The default if the header is absent: "APNs sets the notification priority to 10". */
const DEFAULT_PRIORITY = "10";

export function validateRequest(
  request: ReceivedRequest,
  credential: ConnectionCredential,
  context: ValidationContext,
): Judgement {
  const { certificate } = credential;
  const topic = request.topic ?? (typeof certificate === "object" ? certificate.topic : undefined);
  const deviceToken = request.path.startsWith(pathPrefix)
    ? request.path.slice(pathPrefix.length).toLowerCase()
    : undefined;
  const problem =
    checkHeaders(request, topic) ??
    checkPath(deviceToken) ??
    checkDevice(deviceToken ?? "", topic ?? "", request.environment, context) ??
    checkSender(request, topic ?? "", credential, context) ??
    checkPayload(request);
  return { answer: problem ?? accepted, deviceToken, topic };
}

function checkHeaders(request: ReceivedRequest, topic: string | undefined): ApnsAnswer | undefined {
  const { apnsId, method, collapseId, priority = DEFAULT_PRIORITY, pushType, expiration } = request;
  if (request.hasDuplicateHeaders) return refusal("DuplicateHeaders");
  if (apnsId !== undefined && !uuidPattern.test(apnsId)) return refusal("BadMessageId");
  if (method !== "POST") return refusal("MethodNotAllowed");
  if (topic === undefined) return refusal("MissingTopic");
  if (!topicPattern.test(topic)) return refusal("BadTopic");
  // Node represents each byte of a header as one character.
  if ((collapseId?.length ?? 0) > MAX_COLLAPSE_ID_BYTES) return refusal("BadCollapseId");
  if (!["10", "5", "1"].includes(priority)) return refusal("BadPriority");
  // "Always use priority 5. Using priority 10 is an error."
  if (pushType === "background" && priority === "10") return refusal("BadPriority");
  const problem = checkPushType(pushType, topic);
  if (problem !== undefined) return problem;
  if (expiration !== undefined && !/^\d{1,16}$/.test(expiration)) return refusal("BadExpirationDate");
  return undefined;
}

/**
 * The type may be absent for iOS ("recommended"), but not for a topic with a suffix. A type that needs a suffix makes a
 * topic without it wrong; the other way round, the type is wrong.
 */
function checkPushType(name: string | undefined, topic: string): ApnsAnswer | undefined {
  const suffix = suffixOf(topic);
  if (name === undefined) return suffix === "" ? undefined : refusal("InvalidPushType");
  const pushType = pushTypes.get(name);
  if (pushType === undefined) return refusal("InvalidPushType");
  if (pushType.topicSuffix === suffix) return undefined;
  return refusal(pushType.topicSuffix === "" ? "InvalidPushType" : "BadTopic");
}

function checkPath(deviceToken: string | undefined): ApnsAnswer | undefined {
  if (deviceToken === undefined) return refusal("BadPath");
  if (deviceToken === "") return refusal("MissingDeviceToken");
  return deviceTokenPattern.test(deviceToken) ? undefined : refusal("BadDeviceToken");
}

function checkDevice(
  deviceToken: string,
  topic: string,
  environment: ApnsEnvironment,
  { devices, behaviour }: ValidationContext,
): ApnsAnswer | undefined {
  const device = devices.get(deviceToken);
  // A token of the other environment is unknown in this one.
  const home = device?.environment ?? behaviour.environment;
  if (home !== undefined && home !== environment) return refusal("BadDeviceToken");
  const scripted = devices.takeAnswer(deviceToken) ?? behaviour.takeAnswer();
  if (scripted !== undefined && scripted.status !== 200) return scripted;
  if (device?.topic === undefined) return undefined;
  // Apple issues a separate token for each topic: an alert token is not valid for VoIP.
  return topic === device.topic ? undefined : refusal("DeviceTokenNotForTopic");
}

function checkSender(
  { authorization, environment }: ReceivedRequest,
  topic: string,
  credential: ConnectionCredential,
  { providerTokens }: ValidationContext,
): ApnsAnswer | undefined {
  const { certificate } = credential;
  if (certificate === "none") return providerTokens.check(authorization, environment, credential);
  // With a certificate the authorization header is ignored.
  if (certificate === "unknown") return refusal("BadCertificate");
  return withoutSuffix(topic) === certificate.topic ? undefined : refusal("BadTopic");
}

/** Apple has no error for a payload that is not a JSON object: it treats it as empty. */
function checkPayload({ body, pushType }: ReceivedRequest): ApnsAnswer | undefined {
  if (body.length === 0) return refusal("PayloadEmpty");
  const { maxPayloadBytes } = pushTypes.get(pushType ?? "alert") ?? { maxPayloadBytes: 0 };
  if (body.length > maxPayloadBytes) return refusal("PayloadTooLarge");
  return isJsonObject(body) ? undefined : refusal("PayloadEmpty");
}

function isJsonObject(body: Buffer): boolean {
  if (!isUtf8(body)) return false;
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function withoutSuffix(topic: string): string {
  const suffix = suffixOf(topic);
  return suffix === "" ? topic : topic.slice(0, -suffix.length);
}
