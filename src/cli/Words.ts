/**
 * What `effect-blaze doctor` says, in English or in Chinese.
 *
 * Guarantee: both say the same; what another part of the library says of an error stands in its own words behind what to do about it.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/**
 * @category models
 * @since 0.1.0
 */
export interface Words {
  readonly keystore: (kind: "Ed25519" | "RSA") => string
  readonly settings: string
  readonly name: (via: string, address: string) => string
  readonly via: (host: string, proxy: string) => string
  readonly connection: (host: string) => string
  readonly tls: string
  readonly untrusted: (host: string, problem: string) => string
  readonly noAnswer: string
  readonly noWord: string
  readonly clockSame: string
  readonly clockNear: (apart: string) => string
  readonly clockOff: (apart: string) => string
  readonly token: string
  readonly messages: string
  /** What is to be done where a step fails, and what is told of it. */
  readonly failed: (step: string, told: string) => string
  readonly notWell: string
  readonly nothingWaits: (bot: string) => string
  readonly waits: (count: number, bot: string, age: string | undefined) => string
  readonly nothingEncrypted: string
  readonly encrypted: (count: number, all: number) => string
  readonly unreadable: (count: number, all: number) => string
  readonly groups: (count: number, identityNumber: string) => string
  readonly noOthersKnown: string
  readonly noOthers: string
  readonly others: (gone: number, all: number) => string
}

const english: Words = {
  keystore: (kind) => `one bot, one session, ${kind === "RSA" ? "an RSA key" : "an Ed25519 key"}`,
  settings: "can be used",
  name: (via, address) => `${via} is ${address}`,
  via: (host, proxy) => `${host}, by the proxy ${proxy}`,
  connection: (host) => `${host} answers`,
  tls: "its certificate is good",
  untrusted: (host, problem) =>
    `The certificate of ${host} is not trusted (${problem}): something between may read what is sent. Where that is meant to be, NODE_EXTRA_CA_CERTS names its authority.`,
  noAnswer: "There was no answer within 15 seconds.",
  noWord: "The server closed the connection without a word.",
  clockSame: "as the server's",
  clockNear: (apart) => `${apart} from the server's`,
  clockOff: (apart) =>
    `This machine's clock and the server's are ${apart} apart, and Mixin tolerates 5 minutes: set the clock.`,
  token: "Mixin knows the bot",
  messages: "the bot is connected, and what waits for it was listed",
  failed: (_, told) => told,
  notWell: "The bot cannot work as it is: see what is told with NO.",
  nothingWaits: (bot) =>
    `nothing waits for ${bot}: what people write to it is taken by a bot that runs, or goes to another bot`,
  waits: (count, bot, age) =>
    `${count} messages wait for ${bot}${age === undefined ? "" : `, the oldest for ${age}`}: the bot does not run, or handles them and does not acknowledge, or its handlers fail. Its log says which.`,
  nothingEncrypted: "nothing of what waits is encrypted",
  encrypted: (count, all) =>
    `${count} of ${all} are encrypted, which this library reads; a bot of another one may see no text`,
  unreadable: (count, all) =>
    `${count} of ${all} are encrypted, and nobody reads them with an RSA key: have a new session made in the dashboard, or encryption taken off there.`,
  groups: (count, identityNumber) =>
    `${count} of what waits are from groups, where Mixin gives a bot what begins with @${identityNumber} or quotes it; whether it may be in groups is set in the dashboard`,
  noOthersKnown: "nothing waits by which it could be seen whether another process takes it",
  noOthers: "nobody else takes what waits",
  others: (gone, all) =>
    `a process with this keystore runs and takes messages: ${gone} of ${all} within a few seconds. If that is not the bot that you mean, end it, or have a new session made in the dashboard.`
}

/** What to do about a step, by its last word. */
const advice: Readonly<Record<string, string>> = {
  keystore: "密钥文件（keystore）无法使用：检查 --keystore 或 BLAZE_KEYSTORE 指向的文件，必要时从控制台重新下载",
  settings: "环境变量中的地址或代理无法使用：检查 BLAZE_URL、BLAZE_API_URL 和代理变量",
  name: "找不到主机的地址：检查网络、DNS 和地址的拼写",
  connection: "连不上主机：检查网络、防火墙、代理和端口",
  TLS: "证书有问题，或无法建立安全连接",
  clock: "时钟不对",
  token: "Mixin 不认识这个机器人：检查密钥文件是否属于它，是否已在控制台被替换",
  messages: "WebSocket 无法打开，或无法列出等待的消息"
}

const chinese: Words = {
  keystore: (kind) => `一个机器人，一个会话（session），${kind} 密钥`,
  settings: "可以使用",
  name: (via, address) => `${via} 的地址是 ${address}`,
  via: (host, proxy) => `${host}（经代理 ${proxy}）`,
  connection: (host) => `${host} 有应答`,
  tls: "证书有效",
  untrusted: (host, problem) =>
    `${host} 的证书不受信任（${problem}）：中间可能有人能读到发送的内容。如果这是有意的，用 NODE_EXTRA_CA_CERTS 指出它的颁发机构。`,
  noAnswer: "15 秒内没有应答。",
  noWord: "服务器一言不发就关闭了连接。",
  clockSame: "与服务器一致",
  clockNear: (apart) => `与服务器相差 ${apart}`,
  clockOff: (apart) => `本机时钟与服务器相差 ${apart}，Mixin 只容许 5 分钟：请校准时钟。`,
  token: "Mixin 认识这个机器人",
  messages: "机器人已连接，等待它的消息已列出",
  failed: (step, told) => `${advice[/\w+$/.exec(step)?.[0] ?? ""] ?? "出错了"}。（${told}）`,
  notWell: "机器人现在无法工作：见标有 NO 的各项。",
  nothingWaits: (bot) => `没有消息在等待 ${bot}：写给它的消息已被正在运行的机器人取走，或者写给了别的机器人`,
  waits: (count, bot, age) =>
    `有 ${count} 条消息在等待 ${bot}${age === undefined ? "" : `，最早的已等了 ${age}`}：机器人没有运行，或处理了却没有确认，或处理函数失败。它的日志会说明是哪一种。`,
  nothingEncrypted: "等待的消息都没有加密",
  encrypted: (count, all) => `${all} 条中有 ${count} 条是加密的，本库可以读取；用其他库的机器人可能看不到文本`,
  unreadable: (count, all) =>
    `${all} 条中有 ${count} 条是加密的，用 RSA 密钥谁也读不了：在控制台生成新的会话（session），或取消加密。`,
  groups: (count, identityNumber) =>
    `等待的消息中有 ${count} 条来自群组；在群组里，Mixin 只把以 @${identityNumber} 开头或引用机器人的消息交给它；能否加入群组在控制台设置`,
  noOthersKnown: "没有等待的消息，无从得知是否有别的进程在取走消息",
  noOthers: "没有别的进程取走等待的消息",
  others: (gone, all) =>
    `有一个进程正在用这个密钥文件取走消息：几秒内取走了 ${all} 条中的 ${gone} 条。如果它不是你要的那个机器人，请结束它，或在控制台生成新的会话（session）。`
}

/**
 * In the language of the environment: `LC_ALL`, `LC_MESSAGES`, `LANG`, the first that says something.
 *
 * @category constructors
 * @since 0.1.0
 */
export const current: Effect.Effect<Words> = Effect.gen(function* () {
  const said = yield* Effect.forEach(["LC_ALL", "LC_MESSAGES", "LANG"], (name) => Config.option(Config.String(name)))
  const language = Option.getOrElse(Option.firstSomeOf(said.map(Option.filter((text) => text !== ""))), () => "")
  return /^zh/i.test(language) ? chinese : english
}).pipe(Effect.orElseSucceed(() => english))
