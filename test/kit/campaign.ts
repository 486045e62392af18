/** A day's mail of an imagined provider, with a campaign in it: texts of words that are as unevenly common as in a language. */
import { type Random, randomFrom } from './random.ts';

export type Sent = {
  readonly subscriber: string;
  readonly kind: 'campaign' | 'ordinary' | 'newsletter' | 'forwarded';
  readonly text: string;
};

const SYLLABLES = 'ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo zu bran clev dran fust glim'.split(' ');
const VOCABULARY = Array.from({ length: 6000 }, (_, i) => {
  let word = '';
  for (let rest = i + 40; rest > 0; rest = Math.floor(rest / SYLLABLES.length))
    word += SYLLABLES[rest % SYLLABLES.length];
  return `${word}${word.length < 4 ? 'ng' : ''}`;
});

export class Writer {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
  }

  whole(below: number): number {
    return this.#random.below(below);
  }

  /** By Zipf's law: the n-th word is n times rarer than the first. */
  word(): string {
    return VOCABULARY[Math.floor(VOCABULARY.length ** this.#random.next()) - 1] as string;
  }

  words(count: number): string[] {
    return Array.from({ length: count }, () => this.word());
  }

  shuffled<T>(all: readonly T[]): T[] {
    return all
      .map((one) => ({ one, at: this.#random.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ one }) => one);
  }
}

function mail(fields: string, body: string, isHtml: boolean): string {
  return `From: a@a.example\r\nDate: x\r\n${fields}Content-Type: text/${isHtml ? 'html' : 'plain'}\r\n\r\n${body}\r\n`;
}

function lines(words: readonly string[]): string {
  const all: string[] = [];
  for (let at = 0; at < words.length; at += 12) all.push(words.slice(at, at + 12).join(' '));
  return all.join('\r\n');
}

/** 20 variants of one text: a quarter of the words others, sentences in another order, other links, other markup. */
function variants(writer: Writer): ((host: number) => string)[] {
  const sentences = Array.from({ length: 14 }, () => writer.words(10));
  return Array.from({ length: 20 }, (_, number) => {
    const own = writer
      .shuffled(sentences)
      .map((words) => words.map((word) => (writer.whole(4) === 0 ? writer.word() : word)));
    return (host) => {
      const link = `http://${writer.word()}${host % 37}.example/${writer.word()}`;
      const said = own.map((words) => words.join(' '));
      const greeting = `dear ${writer.word()} ${writer.word()}`;
      const fields = `Message-ID: <${host}.${number}@${writer.word()}.example>\r\n`;
      if (number % 2 === 0) return mail(fields, `${greeting}\r\n${said.join('.\r\n')}\r\n${link}`, false);
      const tag = number % 3 === 0 ? 'div' : 'p';
      const html = said.map(
        (one) => `<${tag} class="${writer.word()}">${one.replace(' ', ' <b>').replace(/$/, '</b>')}</${tag}>`,
      );
      return mail(fields, `<html><body>${greeting}${html.join('\r\n')}<a href="${link}">${writer.word()}</a>`, true);
    };
  });
}

/** All of it, mixed. The campaign's mails come in the order in which its hosts begin. */
export function aDaysMail(seed: number, hosts = 400, ordinary = 5000, recipients = 5000): Sent[] {
  const writer = new Writer(seed);
  const all: Sent[] = [];
  const of = variants(writer);
  for (let host = 0; host < hosts; host++)
    all.push({
      subscriber: `bot-${host}`,
      kind: 'campaign',
      text: (of[host % of.length] as (host: number) => string)(host),
    });
  for (let i = 0; i < ordinary; i++) {
    const length = 30 + writer.whole(250);
    const fields = `Message-ID: <o${i}@b.example>\r\n`;
    const link = writer.whole(3) === 0 ? `\r\nhttps://www.${writer.word()}.example/` : '';
    all.push({
      subscriber: `host-${writer.whole(1500)}`,
      kind: 'ordinary',
      text: mail(fields, `${lines(writer.words(length))}${link}`, false),
    });
  }
  for (let letter = 0; letter < 3; letter++) {
    const body = lines(writer.words(300));
    for (let i = 0; i < recipients; i++) {
      const text = mail(
        `Message-ID: <n${letter}.${i}@n.example>\r\n`,
        `hello ${writer.word()},\r\n${body}`,
        letter === 1,
      );
      all.push({ subscriber: `newsletter-${letter}`, kind: 'newsletter', text });
    }
  }
  const post = lines(writer.words(200));
  for (let i = 0; i < 200; i++) {
    const fields = `Received: from list.example by mx${i}.example; x\r\nList-Id: <l.list.example>\r\nMessage-ID: <post@list.example>\r\n`;
    all.push({ subscriber: `forwarder-${i}`, kind: 'forwarded', text: mail(fields, post, false) });
  }
  return writer.shuffled(all);
}
