/**
 * Hosts that send as they are told, from addresses of their own.
 *
 *     node test/kit/senders-main.ts TO '[{"kind":"mail","source":"198.51.100.10","count":5,"atOnce":2,"user":"bob","spam":true}, …]'
 *
 * Orders are carried out one after the other. Prints for each a JSON line: of `mail` how often each code and class was the
 * last word, of `series` (so many messages over one connection) how often each was one's last, of `open` (so many connections
 * at once) how often each was the first.
 */
import { Client, codeOf, Gone } from './client.ts';

type Order =
  | { kind: 'mail'; source: string; count: number; atOnce: number; user?: string; spam?: boolean; from?: string }
  | { kind: 'series'; source: string; count: number }
  | { kind: 'open'; source: string; count: number };

const [to = '', orders = '[]'] = process.argv.slice(2);
const GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X';

/** `250`, `451 limit.messages` */
function word(reply: string): string {
  const [, of] = /\[(\S+) id=/.exec(reply) ?? [];
  return of === undefined ? String(codeOf(reply)) : `${codeOf(reply)} ${of}`;
}

type What = { readonly user?: string; readonly spam?: boolean; readonly from?: string };

async function message(client: Client, { user, spam, from = 'a@a.example' }: What = {}): Promise<string> {
  let said = '250';
  for (const line of [`MAIL FROM:<${from}>`, 'RCPT TO:<b@b.example>', 'DATA']) {
    if (codeOf(said) >= 400) return said;
    said = await client.ask(line);
  }
  if (codeOf(said) !== 354) return said;
  const who = user === undefined ? '' : `X-AuthUser: ${user}\r\n`;
  const date = new Date().toUTCString().replace('GMT', '+0000');
  return await client.ask(`${who}From: a@a.example\r\nDate: ${date}\r\n\r\n${spam ? GTUBE : 'hello'}\r\n.`);
}

async function sendOne({ source, ...what }: Order & { kind: 'mail' }): Promise<string> {
  const client = await Client.connect(25, to, source);
  try {
    const banner = await client.reply();
    if (codeOf(banner) >= 400) return banner;
    await client.ask('EHLO a.example');
    return await message(client, what);
  } finally {
    client.close();
  }
}

async function series({ source, count }: Order & { kind: 'series' }): Promise<string[]> {
  const client = await Client.connect(25, to, source);
  const words: string[] = [];
  try {
    await client.reply();
    await client.ask('EHLO a.example');
    while (words.length < count) {
      words.push(word(await message(client)));
      await client.ask('RSET');
    }
    return words;
  } finally {
    client.close();
  }
}

async function mail(order: Order & { kind: 'mail' }): Promise<string[]> {
  const words: string[] = [];
  let next = 0;
  const run = async (): Promise<void> => {
    while (next++ < order.count) words.push(word(await sendOne(order).catch(gone)));
  };
  await Promise.all(Array.from({ length: order.atOnce }, run));
  return words;
}

async function open({ source, count }: Order & { kind: 'open' }): Promise<string[]> {
  const connects = Array.from({ length: count }, () => Client.connect(25, to, source).catch(gone));
  const clients = await Promise.all(connects);
  const words = clients.map(async (client) =>
    typeof client === 'string' ? client : word(await client.reply().catch(gone)),
  );
  const all = await Promise.all(words);
  for (const client of clients) if (typeof client !== 'string') client.close();
  return all;
}

function gone(error: unknown): string {
  if (error instanceof Gone) return error.message;
  throw error;
}

function carriedOut(order: Order): Promise<string[]> {
  if (order.kind === 'mail') return mail(order);
  return order.kind === 'series' ? series(order) : open(order);
}

for (const order of JSON.parse(orders) as Order[]) {
  const counts: Record<string, number> = {};
  for (const one of await carriedOut(order)) counts[one] = (counts[one] ?? 0) + 1;
  process.stdout.write(`${JSON.stringify(counts)}\n`);
}
