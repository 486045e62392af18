/**
 * Sends messages one after another on several connections at once, a new connection for each message.
 *
 *     node test/kit/mail-main.ts TO PORT COUNT AT_ONCE SOURCE
 *
 * Prints {"accepted":N,"other":["reply"…],"ms":[…]}: the time of each whole session, connect to the final reply.
 */
import { Client, codeOf, Gone } from './client.ts';

const [to = '', port = '', count = '', atOnce = '', source = ''] = process.argv.slice(2);
const ms: number[] = [];
const other: string[] = [];
let accepted = 0;
let next = 0;

async function sendOne(n: number): Promise<string> {
  const client = await Client.connect(Number(port), to, source);
  try {
    let said = await client.reply();
    for (const line of ['EHLO a.example', 'MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA']) {
      if (codeOf(said) >= 400) return said;
      said = await client.ask(line);
    }
    if (codeOf(said) !== 354) return said;
    return await client.ask(`From: a@a.example\r\nMessage-ID: <${source}.${n}@a.example>\r\n\r\nhello\r\n.`);
  } finally {
    client.close();
  }
}

async function run(): Promise<void> {
  while (next < Number(count)) {
    const n = next++;
    const begin = performance.now();
    let said: string;
    try {
      said = await sendOne(n);
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      said = error.message;
    }
    ms.push(performance.now() - begin);
    if (codeOf(said) === 250) accepted++;
    else if (other.length < 10) other.push(said);
  }
}

await Promise.all(Array.from({ length: Number(atOnce) }, run));
process.stdout.write(`${JSON.stringify({ accepted, other, ms })}\n`);
