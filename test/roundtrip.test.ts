// What is made here comes back as it was made, what people send reaches the handler as they sent it, and what nobody could mean is
// Unknown: for values that are drawn by a seed, the same in every run. PROPERTY_SEED draws others, PROPERTY_TIMES so many times as many.
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, type BigDecimal, Duration, Effect, Option, Redacted, Result, Schema } from "effect"
import { type Attachments, Base64, Blaze, Bot, Button, Ids, Link, Message, Outgoing } from "effect-blaze"
import { BufferBase64 } from "effect-blaze/node"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import * as Decoding from "../src/internal/Decoding.ts"

const drawn = (runs: number, size = 20) => ({
  arbitrary: {
    seed: process.env["PROPERTY_SEED"] ?? "effect-blaze",
    runs: runs * Number(process.env["PROPERTY_TIMES"] ?? 1),
    size
  }
})

const of = Arbitrary.schema
const between = (minimum: number, maximum: number) => of(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const oneOf = <const A extends ReadonlyArray<string>>(...values: A) => of(Schema.Literals(values))
/** What one of several makes. */
const any = <A>(...several: ReadonlyArray<Arbitrary.Arbitrary<A>>): Arbitrary.Arbitrary<A> =>
  Arbitrary.flatMap(between(0, several.length - 1), (index) => several[index]!)
const maybe = <A>(arbitrary: Arbitrary.Arbitrary<A>) => any<A | undefined>(Arbitrary.Constant(undefined), arbitrary)
const { all, array, map } = Arbitrary

const signs = [
  ..."aB7 .\n\t\0/&=+%#?\"\\<>:;'@-_{}[]",
  "\r\n",
  "\n\n",
  "\u3002",
  "\u597d",
  "e\u0301",
  "\u{1f44d}",
  "\u{1f468}\u200d\u{1f469}",
  "\u00a0",
  "\u2028",
  "\ufeff",
  "\ufffd",
  "\ud83d",
  "\udc4d"
]
/** Anything that JavaScript takes for a text, halves of characters included. */
const text = map(
  all([
    oneOf("", " ", "\ufeff"),
    array(
      any(
        oneOf(...signs),
        map(between(0, 0xffff), (unit) => String.fromCharCode(unit))
      )
    )
  ]),
  ([first, rest]) => first + rest.join("")
)
/** Without halves of characters, which UTF-8 cannot write. */
const whole = map(text, (text) => text.toWellFormed())
const said = map(text, (text) => `${text}.`)
const label = map(text, (text) => `n${text}`.slice(0, 36))
const bytes = map(array(between(0, 255)), (all) => Uint8Array.from(all))
const json = of(Schema.Json)
const digits = (minLength: number, maxLength: number) =>
  map(array(between(0, 9), { minLength, maxLength }), (all) => all.join(""))
/** Nothing, a little, or more than a `number` can tell: before the point and behind it, and as it is written. */
const amountOf = (wholeDigits: number, fractionDigits: number) =>
  map(
    all([
      any(Arbitrary.Constant("0"), digits(1, 4), digits(wholeDigits - 10, wholeDigits)),
      any(Arbitrary.Constant(""), digits(1, fractionDigits), digits(fractionDigits, fractionDigits))
    ]),
    ([whole, fraction]) => ({ whole, fraction, written: `${whole}${fraction === "" ? "" : "."}${fraction}` })
  )
const id = of(Ids.UserId)
/** An id as somebody may write it, and as it is read. */
const spelt = map(all({ id, isUpper: of(Schema.Boolean) }), ({ id, isUpper }) => ({
  written: isUpper ? id.toUpperCase() : id,
  read: id
}))
const mix = map(
  array(oneOf(..."123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"), { minLength: 20 }),
  (all) => ({
    written: `MIX${all.join("")}`,
    read: `MIX${all.join("")}`
  })
)
const address = oneOf("https://example.com/a?b=c#d", "http://example.com:8080/\u597d", "mixin://users/x", "HTTPS://a.b")
const page = oneOf("https://example.com/a.png", "http://example.com/?a=b&c")
const color = oneOf("#3D75E3", "#abc")
/** One way to write each degree: JSON has no second zero. */
const degrees = (limit: number) =>
  map(of(Schema.Finite.check(Schema.isBetween({ minimum: -limit, maximum: limit }))), (degrees) => degrees + 0)
/** A text, an empty one, or none. */
const perhaps = any<string | undefined>(Arbitrary.Constant(undefined), Arbitrary.Constant(""), text)
const place = all({ longitude: degrees(180), latitude: degrees(90), name: perhaps, address: perhaps })

const some = Option.fromUndefinedOr
/** An empty text is as good as none. */
const filled = (text: string | undefined) => (text ? Option.some(text) : Option.none<string>())

const me = Ids.UserId.make("82d20bc7-9a97-4a69-bcd0-4da502374f6c")
const messageId = Ids.MessageId.make("928c5c40-769c-3e97-8387-fb1ae0645311")
const conversationId = Ids.ConversationId.make(messageId)
const paramsOf = (outgoing: Outgoing.Outgoing) =>
  Result.getOrThrow(Outgoing.toParams(outgoing, { botId: me, conversationId, messageId }))

const decoders = [Base64.portable, Effect.runSync(Effect.provide(Base64.Decoder, BufferBase64.layer))]

/** A payload as a message, from each of the two fields that may have it and by each decoder. */
const readings = (category: string, payload: string | Uint8Array): ReadonlyArray<Message.Message> => {
  const buffer = Buffer.from(payload)
  const [data, data_base64] = [buffer.toString("base64"), buffer.toString("base64url")]
  return [{ data, data_base64 }, { data, data_base64: "" }, { data_base64 }].flatMap((payload) =>
    decoders.map((decoder) => Message.fromView({ message_id: messageId, category, ...payload }, decoder))
  )
}

/** What a kind has beside what every message has. An amount is told by how many of its smallest parts it is. */
const fieldsOf = (message: Message.Message): object => {
  const { view: _, ...fields } = message
  if (Message.isText(message) || Message.isPost(message)) return { ...fields, text: message.text }
  return Message.isSnapshot(message) ? { ...fields, amount: partsOf(message.amount) } : fields
}

const fractionDigits = 64
const partsOf = ({ scale, value }: BigDecimal.BigDecimal) => value * 10n ** BigInt(fractionDigits - scale)
const partsIn = ({ fraction, whole }: { readonly whole: string; readonly fraction: string }) =>
  BigInt(whole + fraction.padEnd(fractionDigits, "0"))

/** Content of a constructor of `Outgoing`, and the fields that it has when it comes back. */
interface Made {
  readonly make: (options?: Outgoing.Options) => Outgoing.Outgoing
  readonly fields: object
}

/** Something as it travels, and the fields that the message then has. */
interface Sample {
  readonly category: string
  readonly payload: string | Uint8Array
  readonly fields: object
}

const button = any<Button.Button>(
  map(all([label, said, color]), ([label, text, color]) => Button.say(label, text, { color })),
  map(all([label, address, color]), ([label, address, color]) => Button.open(label, address, { color })),
  map(all([label, id, id]), ([label, recipient, asset]) => Button.pay({ label, recipient, asset, amount: "0.10" }))
)
const group = array(button, { minLength: 1, maxLength: 18 })
const buttonFields = (buttons: ReadonlyArray<Button.Button>) =>
  buttons.map(({ action, color, label }) => ({ label, action, color: some(color) }))

const cardFields = {
  _tag: "Card",
  appId: some(me),
  iconUrl: Option.none(),
  coverUrl: Option.none(),
  action: Option.none()
}
const shareable = maybe(of(Schema.Boolean))
const card = any<Made>(
  map(all([label, text, page, address, shareable]), ([title, description, iconUrl, action, shareable]) => ({
    make: (options) => Outgoing.card({ title, description, iconUrl, action, shareable }, options),
    fields: {
      ...cardFields,
      title,
      description,
      buttons: [],
      isShareable: shareable ?? true,
      iconUrl: some(iconUrl),
      action: some(action)
    }
  })),
  map(
    all([label, text, maybe(page), maybe(group), shareable]),
    ([title, description, coverUrl, buttons, shareable]) => ({
      make: (options) => Outgoing.card({ title, description, coverUrl, buttons, shareable }, options),
      fields: {
        ...cardFields,
        title,
        description,
        buttons: buttonFields(buttons ?? []),
        isShareable: shareable ?? true,
        coverUrl: some(coverUrl)
      }
    })
  )
)

const side = between(1, 10_000)
const smallPicture = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0)
const thumbnail = any<readonly [Outgoing.Thumbnail | undefined, Option.Option<Message.Thumbnail>]>(
  Arbitrary.Constant([undefined, Option.none()]),
  Arbitrary.Constant([
    "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
    Option.some({ _tag: "BlurHash", text: "LEHV6nWB2yk8pyo0adR*.7kCMdnj" })
  ]),
  Arbitrary.Constant([smallPicture, Option.some({ _tag: "Picture", bytes: smallPicture })])
)
const key = Uint8Array.from({ length: 64 }, (_, n) => n)
const digest = Uint8Array.from({ length: 32 }, (_, n) => 255 - n)
const secret = { key: Redacted.make(key), digest }
const attachment = map(
  all([label, maybe(between(0, 2 ** 40)), of(Schema.Boolean), maybe(Arbitrary.Constant("2026-01-01T00:00:00Z"))]),
  ([attachmentId, size, isEncrypted, createdAt]): Attachments.Attachment => ({
    attachmentId,
    size,
    secret: isEncrypted ? secret : undefined,
    createdAt
  })
)
const file = all({ attachment, name: maybe(label), mimeType: maybe(oneOf("image/png", "audio/ogg")) })

/** What is sent once its file is uploaded. */
const uploaded = (content: Outgoing.Outgoing, attachment: Attachments.Attachment): Outgoing.Outgoing => {
  const facts = { name: content.file!.name, mimeType: undefined, width: undefined, height: undefined }
  const payload = { ...Outgoing.attached(attachment), ...Result.getOrThrow(content.file!.describe(facts)) }
  return { ...content, file: undefined, dataBase64: Base64.encode(JSON.stringify(payload)) }
}
const fileFields = ({
  attachment,
  mimeType,
  name
}: {
  attachment: Attachments.Attachment
  mimeType?: string | undefined
  name?: string | undefined
}) => ({
  attachment,
  mimeType: Option.some(mimeType ?? "application/octet-stream"),
  name: some(name)
})
const film = all({ file, width: side, height: side, thumbnail, caption: maybe(label) })
const duration = map(between(100, 10_000_000), (millis) => Duration.millis(millis))

const files: Record<"image" | "video" | "audio" | "file", Arbitrary.Arbitrary<Made>> = {
  image: map(film, ({ caption, file, height, thumbnail: [given, read], width }) => ({
    make: (options) =>
      uploaded(
        Outgoing.image(file.attachment, { ...options, ...file, width, height, thumbnail: given, caption }),
        file.attachment
      ),
    fields: {
      _tag: "Image",
      ...fileFields({ ...file, name: undefined }),
      width: some(width),
      height: some(height),
      thumbnail: read,
      caption: some(caption)
    }
  })),
  video: map(
    all([film, duration]),
    ([
      {
        caption,
        file,
        height,
        thumbnail: [given, read],
        width
      },
      duration
    ]) => ({
      make: (options) =>
        uploaded(
          Outgoing.video(file.attachment, { ...options, ...file, width, height, duration, thumbnail: given, caption }),
          file.attachment
        ),
      fields: {
        _tag: "Video",
        ...fileFields({ ...file, name: undefined }),
        width: some(width),
        height: some(height),
        duration: some(duration),
        thumbnail: read,
        caption: some(caption)
      }
    })
  ),
  audio: map(all([file, duration, maybe(bytes)]), ([file, duration, waveform]) => ({
    make: (options) =>
      uploaded(Outgoing.audio(file.attachment, { ...options, ...file, duration, waveform }), file.attachment),
    fields: {
      _tag: "Audio",
      ...fileFields({ ...file, name: undefined }),
      duration: some(duration),
      waveform: Option.filter(some(waveform), ({ length }) => length > 0)
    }
  })),
  file: map(file, (file) => ({
    make: (options) => uploaded(Outgoing.file(file.attachment, { ...options, ...file }), file.attachment),
    fields: { _tag: "File", ...fileFields({ ...file, name: file.name ?? "file" }) }
  }))
}

const transcriptText = map(all([id, label, maybe(id), text]), ([messageId, name, userId, text]) => ({
  messageId: Ids.MessageId.make(messageId),
  name,
  userId,
  text: text.toWellFormed(),
  createdAt: "2026-01-01T00:00:00Z"
}))

const made: Record<string, Arbitrary.Arbitrary<Made>> = {
  ...files,
  live: map(all([page, maybe(page), side, side, shareable]), ([url, thumbUrl, width, height, shareable]) => ({
    make: (options) => Outgoing.live({ url, thumbUrl, width, height, shareable }, options),
    fields: {
      _tag: "Live",
      url,
      thumbUrl: some(thumbUrl),
      width: some(width),
      height: some(height),
      isShareable: shareable ?? true
    }
  })),
  transcript: map(array(transcriptText, { minLength: 1 }), (texts) => ({
    make: (options) => Outgoing.transcript(texts, options),
    fields: {
      _tag: "Transcript",
      entries: texts.map(({ createdAt, messageId, name, text, userId }) => ({
        messageId: some(messageId),
        userId: some(userId),
        name,
        category: "PLAIN_TEXT",
        content: text,
        createdAt
      }))
    }
  })),
  text: map(said, (text) => ({
    make: (options) => Outgoing.text(text, options),
    fields: { _tag: "Text", text: text.toWellFormed() }
  })),
  post: map(said, (text) => ({
    make: (options) => Outgoing.post(text, options),
    fields: { _tag: "Post", text: text.toWellFormed() }
  })),
  sticker: map(spelt, ({ read, written }) => ({
    make: (options) => Outgoing.sticker(written, options),
    fields: { _tag: "Sticker", stickerId: some(read), name: Option.none(), albumId: Option.none() }
  })),
  contact: map(spelt, ({ read, written }) => ({
    make: (options) => Outgoing.contact(written as Ids.UserId, options),
    fields: { _tag: "Contact", userId: read }
  })),
  location: map(
    Arbitrary.filter(place, ({ latitude, longitude }) => longitude !== 0 || latitude !== 0),
    (place) => ({
      make: (options) => Outgoing.location(place, options),
      fields: { _tag: "Location", ...place, name: filled(place.name), address: filled(place.address) }
    })
  ),
  buttons: map(group, (group) => ({
    make: (options) => Outgoing.buttons(group, options),
    fields: { _tag: "Buttons", buttons: buttonFields(group) }
  })),
  card,
  forward: map(all([oneOf("PLAIN_PAST", "PLAIN_FUTURE"), bytes]), ([category, bytes]) => ({
    make: (options) => Outgoing.forward(readings(category, bytes)[0]!, options),
    fields: { _tag: "Unknown", reason: `the category "${category}"`, isSealed: false }
  }))
}

const sampleOf = ({ fields, make }: Made): Sample => {
  const { category, data_base64 } = paramsOf(make())
  return { category: String(category), payload: Buffer.from(String(data_base64), "base64url"), fields }
}

const role = oneOf("OWNER", "ADMIN", "")
const roles = { OWNER: "Owner", ADMIN: "Admin", "": "Member" }
const change = oneOf("CREATE", "ADD", "REMOVE", "JOIN", "EXIT", "ROLE", "UPDATE", "EXPIRE")
const changes = {
  CREATE: "Created",
  ADD: "Added",
  REMOVE: "Removed",
  JOIN: "Joined",
  EXIT: "Left",
  ROLE: "RoleChanged",
  UPDATE: "Updated",
  EXPIRE: "ExpirationChanged"
}

const snapshot = map(
  all({
    category: oneOf("SYSTEM_ACCOUNT_SNAPSHOT", "SYSTEM_SAFE_SNAPSHOT", "SYSTEM_SAFE_INSCRIPTION"),
    sign: oneOf("", "+", "-"),
    amount: amountOf(64, 64),
    snapshot: spelt,
    asset: spelt,
    opponent: maybe(spelt),
    isOldName: of(Schema.Boolean),
    trace: maybe(spelt),
    memo: whole,
    hash: maybe(label)
  }),
  ({ amount, asset, category, hash, isOldName, memo, opponent, sign, snapshot, trace }): Sample => {
    const parts = partsIn(amount)
    const isSafe = category !== "SYSTEM_ACCOUNT_SNAPSHOT"
    const sent = isSafe ? Buffer.from(memo).toString("hex") : memo
    return {
      category,
      payload: JSON.stringify({
        snapshot_id: snapshot.written,
        asset_id: asset.written,
        trace_id: trace?.written,
        memo: sent,
        amount: sign + amount.written,
        transaction_hash: hash,
        ...(isOldName ? { opponent_id: "", counter_user_id: opponent?.written } : { opponent_id: opponent?.written })
      }),
      fields: {
        _tag: "Snapshot",
        snapshotId: snapshot.read,
        assetId: asset.read,
        traceId: some(trace?.read),
        amount: parts,
        direction: sign === "-" && parts !== 0n ? "Sent" : "Received",
        opponentId: some(opponent?.read),
        memo: sent,
        memoText: memo,
        transactionHash: some(hash),
        inscriptionHash: Option.none()
      }
    }
  }
)

/** By each kind of message: payloads as clients and the system write them, old ones too, and the fields that they mean. */
const received: Record<Message.Message["_tag"], Arbitrary.Arbitrary<Sample>> = {
  Text: map(text, (text) => ({
    category: "PLAIN_TEXT",
    payload: text,
    fields: { _tag: "Text", text: text.toWellFormed() }
  })),
  Post: map(text, (text) => ({
    category: "PLAIN_POST",
    payload: text,
    fields: { _tag: "Post", text: text.toWellFormed() }
  })),
  Sticker: any(
    map(made["sticker"]!, sampleOf),
    map(all([label, spelt]), ([name, album]) => ({
      category: "PLAIN_STICKER",
      payload: JSON.stringify({ name, album_id: album.written }),
      fields: { _tag: "Sticker", stickerId: Option.none(), name: some(name), albumId: some(album.read) }
    }))
  ),
  Image: map(made["image"]!, sampleOf),
  Video: any(
    map(made["video"]!, sampleOf),
    map(all([label, between(1, 99)]), ([attachmentId, seconds]) => ({
      category: "PLAIN_VIDEO",
      payload: JSON.stringify({
        attachment_id: attachmentId,
        size: "12",
        duration: String(seconds),
        width: 0,
        thumbnail: ""
      }),
      fields: {
        _tag: "Video",
        attachment: { attachmentId, size: 12, secret: undefined, createdAt: undefined },
        mimeType: Option.none(),
        name: Option.none(),
        width: Option.none(),
        height: Option.none(),
        duration: some(Duration.seconds(seconds)),
        thumbnail: Option.none(),
        caption: Option.none()
      }
    }))
  ),
  Audio: any(
    map(made["audio"]!, sampleOf),
    map(all([label, bytes]), ([attachmentId, waveform]) => ({
      category: "PLAIN_AUDIO",
      payload: JSON.stringify({
        attachment_id: attachmentId,
        mime_type: null,
        duration: 60,
        wave_form: Buffer.from(waveform).toString("base64")
      }),
      fields: {
        _tag: "Audio",
        attachment: { attachmentId, size: undefined, secret: undefined, createdAt: undefined },
        mimeType: Option.none(),
        name: Option.none(),
        duration: some(Duration.seconds(60)),
        waveform: Option.filter(some(waveform), ({ length }) => length > 0)
      }
    }))
  ),
  File: map(made["file"]!, sampleOf),
  Live: map(made["live"]!, sampleOf),
  Transcript: any(
    map(made["transcript"]!, sampleOf),
    map(all([label, label]), ([name, content]) => ({
      category: "PLAIN_TRANSCRIPT",
      payload: JSON.stringify([{ name, category: "PLAIN_TEXT", content }]),
      fields: {
        _tag: "Transcript",
        entries: [
          {
            messageId: Option.none(),
            userId: Option.none(),
            name,
            category: "PLAIN_TEXT",
            content,
            createdAt: ""
          }
        ]
      }
    }))
  ),
  Contact: map(made["contact"]!, sampleOf),
  Location: map(all([place, of(Schema.Boolean)]), ([place, isText]) => {
    const { latitude, longitude } = place
    const numbers = isText ? { longitude: String(longitude), latitude: ` ${latitude} ` } : {}
    return {
      category: "PLAIN_LOCATION",
      payload: JSON.stringify({ ...place, ...numbers }),
      fields: { _tag: "Location", ...place, name: filled(place.name), address: filled(place.address) }
    }
  }),
  Buttons: map(made["buttons"]!, sampleOf),
  Card: map(made["card"]!, sampleOf),
  Snapshot: snapshot,
  GroupEvent: map(all([change, id, maybe(spelt), role, maybe(between(0, 1e9))]), (given) => {
    const [action, actor, participant, role, expire_in] = given
    return {
      category: "SYSTEM_CONVERSATION",
      payload: JSON.stringify({ action, user_id: actor, participant_id: participant?.written, role, expire_in }),
      fields: {
        _tag: "GroupEvent",
        action: changes[action],
        actorId: some(actor),
        participantId: some(participant?.read),
        role: some(roles[role]),
        expireIn: some(expire_in)
      }
    }
  }),
  Recall: map(spelt, ({ read, written }) => ({
    category: "MESSAGE_RECALL",
    payload: JSON.stringify({ message_id: written }),
    fields: { _tag: "Recall", messageId: read }
  })),
  Pin: map(all([of(Schema.Boolean), array(spelt)]), ([isPinned, ids]) => ({
    category: "MESSAGE_PIN",
    payload: JSON.stringify({ action: isPinned ? "PIN" : "UNPIN", message_ids: ids.map(({ written }) => written) }),
    fields: { _tag: "Pin", isPinned, messageIds: ids.map(({ read }) => read) }
  })),
  Unknown: map(bytes, (bytes) => ({
    category: "PLAIN_FUTURE",
    payload: bytes,
    fields: { _tag: "Unknown", reason: 'the category "PLAIN_FUTURE"', isSealed: false }
  }))
}

const tags = Object.keys(received)

/** What is done to other messages, which has no options. */
const ids = map(all([of(Ids.MessageId), array(of(Ids.MessageId))]), ([first, others]) => [first, ...others] as const)
const done: Record<string, Arbitrary.Arbitrary<Made>> = {
  recall: map(of(Ids.MessageId), (messageId) => ({
    make: () => Outgoing.recall(messageId),
    fields: { _tag: "Recall", messageId }
  })),
  pin: map(ids, (messageIds) => ({
    make: () => Outgoing.pin(messageIds),
    fields: { _tag: "Pin", isPinned: true, messageIds }
  })),
  unpin: map(ids, (messageIds) => ({
    make: () => Outgoing.unpin(messageIds),
    fields: { _tag: "Pin", isPinned: false, messageIds }
  }))
}

describe("what Outgoing makes", () => {
  for (const [constructor, arbitrary] of Object.entries({ ...made, ...done })) {
    it.prop(
      `${constructor} has the same fields when it comes back`,
      [arbitrary],
      ([made]) => {
        const { category, fields, payload } = sampleOf(made)
        for (const message of readings(category, payload)) assert.deepStrictEqual(fieldsOf(message), fields)
      },
      drawn(25)
    )
  }

  it.prop(
    "forward sends every byte, and what it quotes",
    { bytes, category: oneOf("PLAIN_TEXT", "PLAIN_IMAGE", "PLAIN_CONTACT", "APP_CARD"), quoted: maybe(id) },
    ({ bytes, category, quoted }) => {
      const quote_message_id = quoted ?? ""
      const data = Buffer.from(bytes).toString("base64")
      const message = Message.fromView({ message_id: messageId, category, data, quote_message_id })
      const sent = paramsOf(Outgoing.forward(message))
      assert.strictEqual(sent["category"], category)
      assert.strictEqual(Buffer.from(String(sent["data_base64"]), "base64url").toString("base64"), data)
      assert.strictEqual(sent["quote_message_id"], quoted)
    },
    drawn(60)
  )

  it.prop(
    "has its options beside it, whatever it is",
    {
      made: any(...Object.values(made)),
      quote: maybe(of(Ids.MessageId)),
      silent: maybe(of(Schema.Boolean)),
      representative: maybe(of(Ids.UserId)),
      seconds: maybe(between(0, 1e9))
    },
    ({ made: { make }, quote, representative, seconds, silent }) => {
      const expireIn = seconds === undefined ? undefined : seconds * 1000
      const outgoing = make({ quote, silent, representative, expireIn })
      const options = {
        quotedMessageId: quote,
        silent: silent ?? false,
        representativeId: representative,
        expireIn: seconds ?? 0
      }
      assert.deepStrictEqual(outgoing, { ...make(), ...options })
      const params = paramsOf(outgoing)
      assert.deepStrictEqual(
        {
          quotedMessageId: params["quote_message_id"],
          silent: params["silent"] ?? false,
          representativeId: params["representative_id"],
          expireIn: params["expire_in"] ?? 0
        },
        options
      )
    },
    drawn(25)
  )

  const notConstructors = ["attached", "doubts", "fromContent", "maximumRequestSize", "mention", "split", "toParams"]
  it("no constructor is left out", () => {
    assert.sameMembers(Object.keys(Outgoing), [...notConstructors, ...Object.keys(made), ...Object.keys(done)])
  })
})

describe("split", () => {
  it.prop(
    "loses no character but white space at the cuts, halves none, keeps the limit and the order, and gives each part the options",
    { text, maximumLength: between(0, 30), quote: maybe(of(Ids.MessageId)) },
    ({ maximumLength, quote, text }) => {
      const parts = Outgoing.split(text, { maximumLength, silent: true, quote })
      const content = text.toWellFormed()
      let rest = content
      for (const [index, part] of parts.entries()) {
        const sent = Buffer.from(part.dataBase64, "base64url").toString()
        assert.isAtMost(sent.length, Math.max(2, maximumLength))
        assert.strictEqual(rest.trimStart().slice(0, sent.length), sent)
        rest = rest.trimStart().slice(sent.length)
        assert.deepStrictEqual([part.part, part.silent, part.quotedMessageId], [index + 1, true, quote])
        assert.deepInclude(paramsOf(part), { category: "PLAIN_TEXT", silent: true })
      }
      assert.strictEqual(rest.trim(), "")
    },
    drawn(200)
  )
})

describe("every kind of message", () => {
  for (const [tag, arbitrary] of Object.entries(received)) {
    it.prop(
      `${tag} has the fields that were written, from either field of the view and by either decoder`,
      [arbitrary],
      ([{ category, fields, payload }]) => {
        for (const message of readings(category, payload)) {
          assert.deepStrictEqual(fieldsOf(message), fields)
          assert.deepStrictEqual(Buffer.from(message.bytes), Buffer.from(payload))
        }
      },
      drawn(25)
    )
  }

  it("none is left out", () => {
    const guards = Object.keys(Message).filter((name) => /^is[A-Z]/.test(name))
    assert.sameMembers(
      guards.map((name) => name.slice(2)),
      tags
    )
  })
})

/** A bot that remembers what it gets, and a person. */
const listening = Effect.gen(function* () {
  const bot = yield* BlazeTest.Account
  const server = yield* BlazeServer.BlazeServer
  const alice = yield* BlazeTest.user("alice")
  const got: Array<Message.Message> = []
  yield* Effect.forkChild(Bot.run(({ message }) => Effect.sync(() => void got.push(message)), { concurrency: 1 }))
  return {
    bot,
    server,
    alice,
    got,
    gets: (count: number) =>
      BlazeTest.settle.pipe(Effect.repeat({ until: () => got.length >= count, times: 10 }), Effect.asVoid)
  }
})

describe("what people do", () => {
  it.effect.prop(
    "whatever they send reaches the handler in their order, with its fields and bytes",
    [array(any(...Object.values(received)))],
    ([samples]) =>
      Effect.gen(function* () {
        const { alice, got, gets } = yield* listening
        const ids = yield* Effect.forEach(samples, ({ category, payload }) => alice.send(category, payload))
        yield* gets(samples.length)
        assert.deepStrictEqual(
          got.map(({ id }) => id),
          ids
        )
        for (const [index, { category, fields, payload }] of samples.entries()) {
          const message = got[index]!
          assert.deepStrictEqual(fieldsOf(message), fields)
          assert.deepStrictEqual(Buffer.from(message.bytes), Buffer.from(payload))
          assert.deepStrictEqual(
            [message.category, message.senderId, message.conversationId],
            [category, alice.userId, alice.conversationId]
          )
        }
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(7, 12)
  )

  it.effect.prop(
    "what is said, quoted and taken back is what the handler gets, and who enters and leaves is told",
    [array(all([oneOf("say", "quote", "recall", "join", "leave"), text]))],
    ([deeds]) =>
      Effect.gen(function* () {
        const { alice, bot, got, gets, server } = yield* listening
        const bob = yield* BlazeTest.user("bob")
        const group = yield* server.group(bot, [alice])
        const first = yield* alice.addBot
        // What is taken back before it is handled is not handled.
        yield* gets(1)
        const expected: Array<readonly [object, Option.Option<string>]> = []
        const event = { _tag: "GroupEvent", participantId: some(bob.userId), actorId: some(bob.userId) }
        let isIn = false
        for (const [deed, content] of deeds) {
          const text = { _tag: "Text", text: content.toWellFormed() }
          if (deed === "say") {
            yield* alice.say(content)
            expected.push([text, Option.none()])
          } else if (deed === "quote") {
            yield* alice.quote(first, content, group)
            expected.push([text, some(first)])
          } else if (deed === "recall") {
            yield* alice.recall(first)
            expected.push([{ _tag: "Recall", messageId: first }, Option.none()])
          } else {
            yield* deed === "join" ? bob.join(group) : bob.leave(group)
            if (isIn === (deed === "join")) continue
            isIn = deed === "join"
            const change = isIn ? { action: "Joined", role: some("Member") } : { action: "Left", role: Option.none() }
            expected.push([{ ...event, ...change, expireIn: Option.none() }, Option.none()])
          }
        }
        yield* gets(1 + expected.length)
        const said = got.slice(1).map((message) => [fieldsOf(message), message.quotedMessageId] as const)
        assert.sameDeepMembers(said, expected)
        // Those of one conversation come in its order.
        const only = (kind: string, all: ReadonlyArray<readonly [object, unknown]>) =>
          all.filter(([fields]) => Reflect.get(fields, "_tag") === kind)
        for (const kind of ["Recall", "GroupEvent"]) assert.deepStrictEqual(only(kind, said), only(kind, expected))
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(5, 12)
  )

  it.effect.prop(
    "what is paid has every digit, the memo and the trace that were given",
    { amount: amountOf(30, 8), asset: spelt, memo: whole, trace: maybe(spelt) },
    ({ amount, asset, memo, trace }) =>
      Effect.gen(function* () {
        const { alice, got, gets } = yield* listening
        yield* alice.pay({ asset: asset.written, amount: amount.written, memo, trace: trace?.written })
        yield* gets(1)
        const message = got[0]!
        assert(Message.isSnapshot(message), message._tag)
        assert.strictEqual(partsOf(message.amount), partsIn(amount))
        assert.deepStrictEqual(
          [message.direction, message.opponentId, message.assetId, message.memo, message.memoText],
          ["Received", Option.some(alice.userId), asset.read, Buffer.from(memo).toString("hex"), memo]
        )
        if (trace !== undefined) assert.deepStrictEqual(message.traceId, Option.some(trace.read))
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(6, 30)
  )

  it.effect.prop(
    "a tap says what the button says, whatever else was sent since",
    { label, text: said, later: array(any(...Object.values(made))), broken: bytes },
    ({ broken, label, later, text }) =>
      Effect.gen(function* () {
        const { alice, got, gets } = yield* listening
        yield* alice.addBot
        const blaze = yield* Blaze.Blaze
        const send = (content: Outgoing.Content) => blaze.send({ user: alice.userId }, content)
        yield* send(
          Outgoing.buttons([Button.say(label, text), Button.open(`${label}, the page`, "https://example.com")])
        )
        for (const { make } of later) {
          const content = make()
          // Bytes that were passed on as a picture are none that Mixin takes.
          yield* /^PLAIN_(IMAGE|FUTURE)$/.test(content.category) ? Effect.ignore(send(content)) : send(content)
        }
        // What no phone could read does not come to one.
        const refused = yield* Effect.flip(send(Outgoing.forward(readings("APP_CARD", broken)[0]!)))
        assert.include(refused.message, "10002")
        const hidden = later.some(({ fields }) => JSON.stringify(fields).includes(`"label":${JSON.stringify(label)}`))
        if (hidden) return
        assert.strictEqual(yield* alice.tap(label), `input:${text}`)
        yield* gets(2)
        assert.deepStrictEqual(got.slice(1).map(fieldsOf), [{ _tag: "Text", text: text.toWellFormed() }])
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(5, 8)
  )

  it.effect.prop(
    "the bot's words are what they read",
    [array(all([oneOf("text", "post"), said]), { minLength: 4 })],
    ([words]) =>
      Effect.gen(function* () {
        const { alice } = yield* listening
        yield* alice.addBot
        const blaze = yield* Blaze.Blaze
        for (const [kind, text] of words) yield* blaze.send({ user: alice.userId }, Outgoing[kind](text))
        assert.deepStrictEqual(
          yield* alice.reads,
          words.map(([, text]) => text.toWellFormed())
        )
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(5, 12)
  )
})

const words = (text: string) => text.trim().split(/\s+/)
const categories = words(`
  PLAIN_TEXT PLAIN_POST PLAIN_STICKER PLAIN_CONTACT PLAIN_LOCATION APP_BUTTON_GROUP APP_CARD
  SYSTEM_ACCOUNT_SNAPSHOT SYSTEM_SAFE_SNAPSHOT SYSTEM_SAFE_INSCRIPTION SYSTEM_CONVERSATION MESSAGE_RECALL
  MESSAGE_PIN ENCRYPTED_TEXT PLAIN_IMAGE PLAIN_JSON __proto__ constructor
`)
/** Every name of a field of a payload. */
const names = words(`
  sticker_id name album_id user_id longitude latitude address label action color app_id title description
  icon_url cover_url cover actions shareable snapshot_id asset_id amount opponent_id counter_user_id
  trace_id memo participant_id role expire_in message_id message_ids created_at __proto__ constructor
  toString
`)
const viewFields = words(`
  conversation_id user_id representative_id session_id category data data_base64 status source
  quote_message_id silent expire_in created_at updated_at
`)
const numbers = oneOf("1e400", "-1e400", "1e308", "5e-324", "-0", "123456789012345678901234567890.5", "1e999999999")
const odd = any<string>(
  map(json, (json) => JSON.stringify(json)),
  map(text, (text) => JSON.stringify(text)),
  map(id, (id) => JSON.stringify(id)),
  map(change, (change) => JSON.stringify(change)),
  map(numbers, (number) => JSON.stringify(number)),
  numbers
)
const object = map(
  array(all([oneOf(...names), odd])),
  (fields) => `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join()}}`
)
/** Payloads that are nearly those of a kind, and others that are nothing at all. */
const hostile = any<string | Uint8Array>(
  object,
  map(array(object), (objects) => `[${objects.join()}]`),
  odd,
  text,
  bytes,
  map(all([json, between(0, 20)]), ([json, length]) => JSON.stringify(json).slice(0, length))
)

const isJson = (payload: string | Uint8Array) => {
  try {
    JSON.parse(
      Buffer.from(payload)
        .toString()
        .replace(/^\ufeff/, "")
    )
    return true
  } catch {
    return false
  }
}

/** Anything, of any category. */
const anything = map(all([any(oneOf(...categories), text), hostile]), ([category, payload]) => ({ category, payload }))
/** What a kind has, with something odd in place of one field, by each field. */
const spoilt = map(all([any(...Object.values(received)), odd]), ([{ category, payload }, odd]) => {
  const fields: ReadonlyArray<readonly [string, unknown]> = isJson(payload)
    ? Object.entries(JSON.parse(String(payload)))
    : []
  return fields.map(([spoilt]) => {
    const values = fields.map(
      ([name, value]) => `${JSON.stringify(name)}:${name === spoilt ? odd : JSON.stringify(value)}`
    )
    return { category, payload: `{${values.join()}}` }
  })
})

/** Reads all that a message has. */
const readAll = (message: Message.Message) => {
  for (let owner: object | null = message; owner !== null; owner = Object.getPrototypeOf(owner)) {
    for (const name of Object.getOwnPropertyNames(owner)) Reflect.get(message, name)
  }
  assert.include(tags, message._tag)
  if (!Message.isUnknown(message)) return
  assert.isAbove(message.reason.length, 0)
  assert.isBelow(message.reason.length, 400)
}

describe("what nobody could mean", () => {
  it.prop(
    "is a message all the same, all of which can be read, and Unknown with a short reason where its payload is none",
    [anything],
    ([{ category, payload }]) => {
      for (const message of readings(category, payload)) {
        readAll(message)
        assert.strictEqual(message.category, category)
        if (/^PLAIN_(TEXT|POST)$|^ENCRYPTED_/.test(category) || isJson(payload)) continue
        assert(Message.isUnknown(message))
        assert.match(message.reason, /^a payload that is not JSON$|^the category /)
      }
    },
    drawn(80)
  )

  it.prop(
    "is one field of a kind: whichever it is, all of the message can be read",
    [spoilt],
    ([all]) => {
      for (const { category, payload } of all) for (const message of readings(category, payload)) readAll(message)
    },
    drawn(60)
  )

  it.prop(
    "does no harm where its base64 is damaged: the sound field is read, and where none is there are no bytes",
    {
      category: oneOf(...categories),
      damaged: any(
        text,
        map(array(oneOf(..."aB7+/-_=\n")), (all) => all.join(""))
      ),
      payload: text
    },
    ({ category, damaged, payload }) => {
      const sound = Buffer.from(payload).toString("base64")
      assert.deepStrictEqual(decoders[0]?.decode(damaged), decoders[1]?.decode(damaged))
      assert.deepStrictEqual(decoders[0]?.decodeText(damaged), decoders[1]?.decodeText(damaged))
      for (const decoder of decoders) {
        const isSound = Option.isSome(decoder.decode(damaged))
        const message = Message.fromView(
          { message_id: messageId, category, data: sound, data_base64: damaged },
          decoder
        )
        readAll(message)
        // What is encrypted has none until it is decrypted.
        const read = message.isEncrypted ? "" : sound
        if (!isSound) assert.strictEqual(Buffer.from(message.bytes).toString("base64"), read)
        const none = Message.fromView({ message_id: messageId, category, data_base64: damaged, data: damaged }, decoder)
        readAll(none)
        if (!isSound) assert.strictEqual(none.bytes.length, 0)
      }
    },
    drawn(70)
  )

  it.prop(
    "costs a view no more than the odd field: every view that has an id is a message",
    { id: any(map(id, String), label), view: of(Schema.JsonObject), odd: array(all([oneOf(...viewFields), json])) },
    ({ id, odd, view }) => {
      const decoded = Decoding.messageView({ ...view, ...Object.fromEntries(odd), message_id: id })
      assert(Result.isSuccess(decoded))
      assert.strictEqual(decoded.success.message_id, id)
      for (const decoder of decoders) readAll(Message.fromView(decoded.success, decoder))
    },
    drawn(70)
  )

  it.effect.prop(
    "ends no bot, which answers what comes behind it",
    [
      array(
        any(
          map(anything, (one) => [one]),
          spoilt
        )
      )
    ],
    ([drawn]) =>
      Effect.gen(function* () {
        const attacks = drawn.flat()
        const { alice, got, gets } = yield* listening
        for (const { category, payload } of attacks) yield* alice.send(category, payload)
        const last = yield* alice.say("are you there?")
        yield* gets(attacks.length + 1)
        assert.strictEqual(got.length, attacks.length + 1)
        assert.strictEqual(got.at(-1)?.id, last)
      }).pipe(Effect.provide(BlazeTest.layer)),
    drawn(5, 12)
  )

  it("is Unknown with a short reason when it is nested as deep as a message can be long", () => {
    for (const [opening, closing, depth] of [
      ["[", "]", 45_000],
      ['{"a":', "}", 15_000]
    ] as const) {
      const nested = opening.repeat(depth) + "1" + closing.repeat(depth)
      for (const [category, payload] of [
        ["APP_BUTTON_GROUP", nested],
        ["PLAIN_CONTACT", `{"user_id":${nested}}`],
        ["PLAIN_LOCATION", `{"longitude":${nested},"latitude":1}`],
        ["SYSTEM_CONVERSATION", `{"action":${nested}}`],
        ["MESSAGE_PIN", `{"action":"PIN","message_ids":${nested}}`]
      ] as const) {
        const data = Buffer.from(payload).toString("base64")
        const message = Message.fromView({ message_id: messageId, category, data })
        assert.strictEqual(message._tag, "Unknown", category)
        readAll(message)
      }
    }
  })
})

const query = (address: string) => [...new URL(address).searchParams]

describe("a link", () => {
  const payment = {
    recipient: any<{ readonly written: string; readonly read: string }>(spelt, mix),
    asset: spelt,
    amount: amountOf(30, 8),
    memo: maybe(text),
    trace: maybe(spelt),
    returnTo: maybe(page)
  }

  it.prop(
    "to a payment says who, what, how much to the last digit, and the rest, of today and before Safe",
    payment,
    ({ amount, asset, memo, recipient, returnTo, trace }) => {
      const given = {
        recipient: recipient.written,
        asset: asset.written,
        memo,
        trace: trace?.written,
        amount: amount.written
      }
      const [today, before] = [Link.pay({ ...given, returnTo }), Link.payBeforeSafe(given)]
      if (partsIn(amount) === 0n) return assert(Result.isFailure(today) && Result.isFailure(before))
      const tail = amount.fraction.replace(/0+$/, "")
      const parameters = [
        ["asset", asset.read],
        ["amount", `${BigInt(amount.whole)}${tail === "" ? "" : "."}${tail}`],
        ...(memo ? [["memo", memo.toWellFormed()]] : []),
        ...(trace === undefined ? [] : [["trace", trace.read]])
      ]
      assert.deepStrictEqual(query(Result.getOrThrow(today)), [
        ...parameters,
        ...(returnTo === undefined ? [] : [["return_to", returnTo]])
      ])
      const { host, pathname, protocol } = new URL(Result.getOrThrow(today))
      assert.deepStrictEqual([protocol, host, pathname], ["https:", "mixin.one", `/pay/${recipient.read}`])
      assert.deepStrictEqual(query(Result.getOrThrow(before)), [["recipient", recipient.read], ...parameters])
      const pay = Button.pay({ label: "Pay", ...given, returnTo })
      assert.deepStrictEqual([pay.problem, pay.action], [undefined, Result.getOrThrow(today)])
    },
    drawn(60, 30)
  )

  it.prop(
    "to a bot has every parameter, whatever its name and its value",
    { id, parameters: array(all([whole, text])) },
    ({ id, parameters }) => {
      const given = Object.fromEntries(parameters)
      const { host, pathname } = new URL(Link.app(id, given))
      assert.deepStrictEqual([host, pathname], ["apps", `/${id}`])
      const expected = { action: "open", ...given }
      assert.sameDeepMembers(
        query(Link.app(id, given)),
        Object.entries(expected).map(([name, value]) => [name, value.toWellFormed()])
      )
    },
    drawn(60)
  )

  it.prop(
    "that shares a text has the text, and those to people and conversations have the id",
    { id, text },
    ({ id, text }) => {
      const [[, category] = [], [, data = ""] = []] = query(Link.share(text))
      assert.deepStrictEqual([category, Buffer.from(data, "base64").toString()], ["text", text.toWellFormed()])
      const conversation = Link.conversation(id as string as Ids.ConversationId)
      assert.deepStrictEqual(
        [Link.transfer(id), Link.user(id), conversation].map((link) => new URL(link).pathname),
        [`/${id}`, `/${id}`, `/${id}`]
      )
    },
    drawn(60)
  )
})

describe("an address", () => {
  it.prop(
    "that does not begin with https://, http:// or mixin:// is on no button and no card",
    { before: text, address, after: text },
    ({ address, after, before }) => {
      const given = `${before}${address}${after}`
      const isOne = /^(?:https?|mixin):\/\//i.test(given) && URL.canParse(given)
      assert.strictEqual(Button.open("a", given).problem === undefined, isOne)
      const card = Outgoing.card({ title: "t", description: "", iconUrl: "https://example.com/i.png", action: given })
      assert.strictEqual(card.problem === undefined, isOne || /^input:\s*\S/.test(given))
    },
    drawn(150, 4)
  )
})
