/**
 * Bots where there is no Node, or where one does without it: Bun, Deno, workers.
 *
 * Guarantee: nothing but what the web's standards have is needed, and a WebSocket that takes headers.
 *
 * @since 0.1.0
 */
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import * as Digest from "effect/crypto/Digest"
import * as KeyAgreement from "effect/crypto/KeyAgreement"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Signature from "effect/crypto/Signature"
import * as FileSystem from "effect/FileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import type * as MixinApi from "../MixinApi.ts"
import * as PortableGzip from "../PortableGzip.ts"
import * as WebDialer from "./WebDialer.ts"

const layerCryptography = Layer.mergeAll(
  Aead.layerWebCrypto,
  Cipher.layerWebCrypto,
  Digest.layerWebCrypto,
  KeyAgreement.layerWebCrypto,
  Mac.layerWebCrypto,
  Signature.layerWebCrypto
).pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/**
 * A bot that signs as told, on a WebSocket of one's own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  open: WebDialer.Open
): (<StoreServices = never, QuotaServices = never>(
  signer: Blaze.SignerLayer,
  ports?: Blaze.Ports<StoreServices, QuotaServices>
) => Layer.Layer<Blaze.Services | MixinApi.MixinApi, BlazeError.BlazeError, StoreServices | QuotaServices>) =>
  Blaze.layerOn({
    network: WebDialer.layer(open).pipe(Layer.provideMerge(FetchHttpClient.layer)),
    tools: Layer.mergeAll(PortableGzip.layer, layerCryptography, FileSystem.layerNoop({}))
  })

/**
 * A bot that signs as told, on the platform's own WebSocket.
 *
 * **Details**
 *
 * There are no files here: the keystore is text (`Signer.layerString`), and what is sent has its bytes with it.
 *
 * **Gotchas**
 *
 * Nothing pauses such a WebSocket: where more than 16 MiB wait unread, the connection is ended and made anew, and what was not acknowledged
 * comes again. Pings are not seen: a server that is silent for a ping period is asked for what is pending.
 *
 * **Example** (An echo in Bun or Deno)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bot, Signer } from "effect-blaze"
 * import { WebBlaze } from "effect-blaze/web"
 *
 * export const run = (keystore: string) =>
 *   Bot.run(Bot.match({ Text: (delivery) => delivery.reply(delivery.message.text), orElse: () => Effect.void })).pipe(
 *     Effect.provide(WebBlaze.layer(Signer.layerString(keystore))),
 *     Effect.runPromise
 *   )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: ReturnType<typeof layerWith> = layerWith(WebDialer.openGlobal)
