/**
 * Many hosts at once, each as busy as it can be for some seconds and so many connections, and what each of them saw.
 *
 *     node test/kit/hosts-main.ts TO SECONDS CONNECTIONS SEED 198.51.100.2 198.51.100.3 …
 *
 * Prints a JSON line for each host: what it was answered, counted as limits are said to count.
 */
import { Client, codeOf, Gone } from './client.ts';
import { randomFrom } from './random.ts';

const [to = '', seconds = '1', connections = '1', seed = '1', ...sources] = process.argv.slice(2);
const endMs = performance.now() + Number(seconds) * 1000;

/** `limit.messages`, or nothing when the reply is none of ours. */
const classOf = (reply: string): string => /\[(\S+) id=/.exec(reply)?.[1] ?? '';

async function host(source: string, index: number): Promise<object> {
  const { below, pick, oneIn } = randomFrom(Number(seed) + index);
  const seen = { connections: 0, messages: 0, recipients: 0, bytes: 0, unknown: 0 };
  const [domains, senders] = [new Set<string>(), new Set<string>()];
  const identities = new Map<string, { messages: number; recipients: number; bytes: number }>();
  const refused: Record<string, number> = {};
  const no = (reply: string): void => {
    const what = `${codeOf(reply)} ${classOf(reply)}`.trim();
    refused[what] = (refused[what] ?? 0) + 1;
  };

  async function message(client: Client): Promise<boolean> {
    const from = `s${below(12)}@a.example`;
    const said = await client.ask(`MAIL FROM:<${from}>`);
    if (codeOf(said) !== 250) return (no(said), false);
    const accepted: string[] = [];
    for (let n = 1 + below(3); n > 0; n--) {
      const domain = `d${below(9)}.example`;
      const reply = await client.ask(`RCPT TO:<${oneIn(5) ? '550' : `r${below(99)}`}@${domain}>`);
      const why = classOf(reply);
      // The message as a whole, with its sender, is asked for with the first recipient.
      if (why !== 'limit.messages' && why !== 'limit.senders') senders.add(from);
      if (codeOf(reply) === 250) accepted.push(domain);
      else if (why === '') seen.unknown++;
      else no(reply);
      if (codeOf(reply) === 250 || why === '') domains.add(domain);
      if (codeOf(reply) === 421) return false;
    }
    seen.recipients += accepted.length;
    if (accepted.length === 0) return codeOf(await client.ask('RSET')) === 250;
    if (codeOf(await client.ask('DATA')) !== 354) return false;
    const user = pick(['alice', 'bob', 'carol']);
    const date = new Date().toUTCString().replace('GMT', '+0000');
    const body = `X-AuthUser: ${user}\r\nFrom: a@a.example\r\nDate: ${date}\r\n\r\n${'x'.repeat(below(900))}\r\n`;
    const reply = await client.ask(`${body}.`);
    if (codeOf(reply) !== 250) {
      no(reply);
      return codeOf(reply) !== 421;
    }
    seen.messages++;
    seen.bytes += body.length;
    const own = identities.get(user) ?? { messages: 0, recipients: 0, bytes: 0 };
    identities.set(user, {
      messages: own.messages + 1,
      recipients: own.recipients + accepted.length,
      bytes: own.bytes + body.length,
    });
    return true;
  }

  for (let tried = 0; tried < Number(connections) || performance.now() < endMs; tried++) {
    let client: Client | undefined;
    try {
      client = await Client.connect(25, to, source);
      const banner = await client.reply();
      if (codeOf(banner) !== 220) {
        no(banner);
        continue;
      }
      seen.connections++;
      await client.ask('EHLO a.example');
      for (let n = 1 + below(4); n > 0; n--) if (!(await message(client))) break;
      await client.ask('QUIT');
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    } finally {
      client?.close();
    }
  }
  const different = { domains: domains.size, senders: senders.size };
  return { source, ...seen, ...different, identities: Object.fromEntries(identities), refused };
}

const all = await Promise.all(sources.map(host));
for (const one of all) process.stdout.write(`${JSON.stringify(one)}\n`);
