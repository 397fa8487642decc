/**
 * Bots and services for Mixin Messenger.
 *
 * @since 0.1.0
 */
export * as Acks from "./Acks.ts"
export * as Base64 from "./Base64.ts"
export * as Blaze from "./Blaze.ts"
export * as BlazeError from "./BlazeError.ts"
export * as BlazeSocket from "./BlazeSocket.ts"
export * as Bot from "./Bot.ts"
export * as Connection from "./Connection.ts"
export * as Dedup from "./Dedup.ts"
export * as Deferral from "./Deferral.ts"
export * as Delivery from "./Delivery.ts"
export * as Envelope from "./Envelope.ts"
export * as Frame from "./Frame.ts"
export * as Gzip from "./Gzip.ts"
export * as Ids from "./Ids.ts"
export * as Keyed from "./Keyed.ts"
export * as Keystore from "./Keystore.ts"
export * as Message from "./Message.ts"
export * as MixinApi from "./MixinApi.ts"
export * as Outgoing from "./Outgoing.ts"
export * as Quota from "./Quota.ts"
export * as Reconnect from "./Reconnect.ts"
export * as Session from "./Session.ts"
export * as Signer from "./Signer.ts"
export * as Telemetry from "./Telemetry.ts"
