/**
 * Rspamd over HTTP (`/checkv2`), on connections that are kept.
 *
 * The settings id is always sent: by itself Rspamd leaves out much for addresses that it takes for its own network, and our
 * hosts are that. What it says becomes one finding, with its symbols as evidence.
 */
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import { Breaker } from './breaker.ts';
import type { Filter, MakeFilter, Mail, Seen } from './filter.ts';
import { Gate } from './gate.ts';
import { unstuffed, written } from './octets.ts';

const MAX_ANSWER_BYTES = 1024 * 1024;
/** Rspamd's parser of HTTP takes 80 KiB of header. */
const MAX_RECIPIENTS_LENGTH = 32 * 1024;
const MAX_SYMBOLS = 20;

type Settings = Config['filters']['rspamd'];

/** What each action of Rspamd stands for; a word that is not here is no answer. */
const CLASS_OF: Readonly<Record<string, Class>> = {
  'no action': 'accepted.clean',
  greylist: 'spam.rspamd-greylist',
  'add header': 'spam.rspamd-probable',
  'rewrite subject': 'spam.rspamd-probable',
  'soft reject': 'spam.rspamd-soft',
  reject: 'spam.rspamd',
  discard: 'spam.rspamd',
  quarantine: 'spam.rspamd',
};

export const rspamd = (({ filters: { rspamd: config } }, deps): Filter<'body'> | undefined => {
  const { server } = config;
  if (!server) return undefined;
  const breaker = new Breaker('rspamd', deps);
  const agent = new Agent({ keepAlive: true, maxSockets: config.maxConcurrent });
  const where = 'path' in server ? { socketPath: server.path } : { host: server.host, port: server.port };
  let looks = 0;
  let isClosed = false;

  return {
    name: 'rspamd',
    stage: 'body',
    deadlineMs: config.deadline,
    gate: new Gate(config.maxConcurrent),
    async look(mail: Mail, { signal }) {
      if (mail.message.sizeBytes > config.maxSize) return [tooLarge(mail.message.sizeBytes)];
      looks++;
      try {
        return [await breaker.ask(async () => findingIn(await check(mail, signal)))];
      } finally {
        looks--;
        if (isClosed && looks === 0) agent.destroy();
      }
    },
    actionOf(class_) {
      const key = SAYS[class_];
      return key ? config[key] : 'ignore';
    },
    failure: config.failure,
    report: () => breaker.report(),
    close() {
      isClosed = true;
      if (looks === 0) agent.destroy();
    },
  };

  async function check(mail: Mail, signal: AbortSignal): Promise<string> {
    for (;;) {
      const asked = request({
        ...where,
        agent,
        signal,
        method: 'POST',
        path: '/checkv2',
        headers: headersOf(mail, config),
      });
      try {
        const answer = answerTo(asked);
        // Whoever writes into a request that has ended is told so by the answer, or by its absence.
        send(asked, mail).catch(() => {});
        return await answer;
      } catch (error) {
        // Rspamd may close a connection just as it is used again; that says nothing of the service.
        const { code } = error as NodeJS.ErrnoException;
        if (!asked.reusedSocket || signal.aborted || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error;
      } finally {
        // Answered before it had all of it: nothing more is read from the message.
        if (!asked.writableEnded) asked.destroy();
      }
    }
  }
}) satisfies MakeFilter;

async function send(asked: ClientRequest, { message }: Mail): Promise<void> {
  for (const piece of unstuffed(message.raw())) await written(asked, piece);
  asked.end();
}

/** The key of the configuration for each class. */
const SAYS: Partial<Record<Class, 'reject' | 'probable' | 'softReject' | 'greylist'>> = {
  'spam.rspamd': 'reject',
  'spam.rspamd-probable': 'probable',
  'spam.rspamd-soft': 'softReject',
  'spam.rspamd-greylist': 'greylist',
};

/** The envelope. What came over the wire has one character for each octet, and no control is let through. */
function headersOf(mail: Mail, { settingsId }: Settings): Record<string, string | string[]> {
  const plain = (text: string): string => text.replace(/[^\x20-\x7e\x80-\xff]/g, '?');
  const recipients: string[] = [];
  let room = MAX_RECIPIENTS_LENGTH;
  for (const recipient of mail.recipients) {
    room -= recipient.length + 10;
    if (room < 0) break;
    recipients.push(plain(recipient));
  }
  return {
    'Settings-Id': settingsId,
    Ip: mail.source,
    Helo: plain(mail.helo),
    From: plain(mail.sender),
    Rcpt: recipients,
    'Transfer-Encoding': 'chunked',
  };
}

function answerTo(asked: ClientRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    asked.on('error', reject);
    asked.on('response', (response: IncomingMessage) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('rspamd says too much'));
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`rspamd answered with status ${response.statusCode}: ${text.slice(0, 200)}`));
      });
    });
  });
}

type Symbol = { readonly name: string; readonly score: number };

/** Throws when it is no answer of Rspamd. */
function findingIn(text: string): Seen {
  const answer = JSON.parse(text) as { action?: unknown; score?: unknown; required_score?: unknown; symbols?: unknown };
  const { action, score, required_score: required } = answer;
  const of = typeof action === 'string' && Object.hasOwn(CLASS_OF, action) ? CLASS_OF[action] : undefined;
  if (of === undefined || typeof score !== 'number' || !Number.isFinite(score))
    throw new Error(`rspamd answered ${text.slice(0, 200)}`);
  const needed = typeof required === 'number' && required > 0 ? required : 15;
  return {
    filter: 'rspamd',
    name: action as string,
    score: Math.round(Math.min(1, Math.max(0, score / needed)) * 100) / 100,
    evidence: `${score} of ${needed}: ${symbolsIn(answer.symbols)}`,
    class: of,
  };
}

/** `R_SPF_FAIL(1.5) MISSING_MID(2.5)`: those that weigh most first. */
function symbolsIn(raw: unknown): string {
  const symbols = Object.values((raw ?? {}) as Record<string, Partial<Symbol> | undefined>).filter(
    (one): one is Symbol => typeof one?.name === 'string' && typeof one.score === 'number',
  );
  const heaviest = symbols.sort((a, b) => Math.abs(b.score) - Math.abs(a.score)).slice(0, MAX_SYMBOLS);
  return heaviest.map(({ name, score }) => `${name}(${Math.round(score * 100) / 100})`).join(' ');
}

function tooLarge(sizeBytes: number): Seen {
  return { filter: 'rspamd', name: 'too large', score: 0, evidence: `${sizeBytes} octets`, class: 'accepted.clean' };
}
