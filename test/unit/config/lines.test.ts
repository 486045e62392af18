/** The line of every key, in TOML written every way it can be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parse } from 'smol-toml';
import { indexLines, join } from '../../../src/config/lines.ts';
import { seed } from '../../kit/tier.ts';

/** Each key of `expected` is on its line. */
function at(text: string, expected: Readonly<Record<string, number>>): void {
  parse(text);
  const lines = indexLines(text);
  const got = Object.fromEntries(Object.keys(expected).map((key) => [key, lines(key)]));
  assert.deepEqual(got, expected);
}

test('tables, lists of tables and what is in them', () => {
  at(
    `# a comment with a = 1 and [table]
[gateway]
name = "gw1.example.net" # name = "other"

[[network]]
name = "a"
prefixes = ["198.51.100.0/24"]
[[network]]
  name = "b"
[filters]
deadline = "10s"
[filters.gtube]
finding = "reject"
`,
    {
      gateway: 2,
      'gateway.name': 3,
      network: 5,
      'network[0]': 5,
      'network[0].name': 6,
      'network[0].prefixes': 7,
      'network[0].prefixes[0]': 7,
      'network[1]': 8,
      'network[1].name': 9,
      filters: 10,
      'filters.deadline': 11,
      'filters.gtube.finding': 13,
    },
  );
});

test('a list over several lines, with comments, a trailing comma and brackets in texts', () => {
  at('a = [ # ]\n  "x]",\n\n  # "no",\n  "y", "z",\n]\nb = [["p"],\n["q"]]\n', {
    a: 1,
    'a[0]': 2,
    'a[1]': 5,
    'a[2]': 5,
    b: 7,
    'b[0][0]': 7,
    'b[1]': 8,
    'b[1][0]': 8,
  });
});

test('texts of all four kinds', () => {
  at(
    `a = "\\" [x]"\nb = 'c:\\'\nc = """\n[no]\nd = 1\n\\""""\nd = '''\ne = 1'''\ne = """x"""""\nf = """"""\ng = "#"\nh = ''\ni = 1\n`,
    { a: 1, b: 2, c: 3, d: 7, e: 9, f: 10, g: 11, h: 12, i: 13 },
  );
});

test('dotted, quoted and inline keys', () => {
  at(
    'gateway.name = "x"\n"a b"."c.d" = 1\n\'e\' . f = 2\np = { x = 1, y = [\n"q"], "z z" = { w = 3 } }\n[ "t.u" . v ]\nw = 1\n',
    {
      gateway: 1,
      'gateway.name': 1,
      '"a b"."c.d"': 2,
      'e.f': 3,
      'p.x': 4,
      'p.y': 4,
      'p.y[0]': 5,
      'p."z z".w': 5,
      '"t.u".v': 6,
      '"t.u".v.w': 7,
    },
  );
});

test('line ends of both kinds and a byte order mark', () => {
  at('\ufeffa = 1\r\nb = [\r\n1,\r\n2]\r\n[t]\r\nc = 3', { a: 1, b: 2, 'b[1]': 4, 't.c': 6 });
});

test('a key that is not there has the line of what is around it', () => {
  const lines = indexLines('\n[gateway]\nname = "x"\n[[network]]\n[[network]]\nprefixes = []\n');
  assert.equal(lines('gateway.drain'), 2);
  assert.equal(lines('network[1].name'), 5);
  assert.equal(lines('network[1].prefixes[3]'), 6);
  assert.equal(lines('network[7].name'), 4);
  assert.equal(lines('gateway."a.b"'), 2);
  assert.equal(lines('smarthost.servers'), 1);
  assert.equal(lines(''), 1);
  assert.equal(lines('"'), 1);
});

type Value = string | number | boolean | Value[] | { [key: string]: Value };

const key = fc.oneof(
  fc.constantFrom('a', 'b', 'name', 'max_size', 'x-1'),
  fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 6 }),
);
const scalar = fc.oneof(fc.string({ unit: 'grapheme-ascii', maxLength: 12 }), fc.integer(), fc.boolean());
const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
  ),
})).value;
const layout = fc.infiniteStream(fc.nat(9));

/** Writes values as TOML in a random layout and notes where each key went. */
class Writer {
  text = '';
  readonly where: [string, number][] = [];
  readonly #layout: Iterator<number>;

  constructor(stream: Iterable<number>) {
    this.#layout = stream[Symbol.iterator]();
  }

  #choose(of: number): number {
    return Number(this.#layout.next().value) % of;
  }

  #put(text: string): void {
    this.text += text;
  }

  #space(): void {
    this.#put(['', ' ', '\n', ' # [c] = "d", ]\n', '\r\n\t'][this.#choose(5)] as string);
  }

  #note(path: string): void {
    this.where.push([path, this.text.split('\n').length]);
  }

  #key(name: string): string {
    if (/^[A-Za-z0-9_-]+$/.test(name) && this.#choose(3) > 0) return name;
    return /['\u007f]/.test(name) || this.#choose(2) > 0
      ? JSON.stringify(name).replaceAll('\u007f', '\\u007f')
      : `'${name}'`;
  }

  #value(of: Value, path: string): void {
    if (Array.isArray(of)) {
      this.#put('[');
      for (const [i, element] of of.entries()) {
        if (i > 0) this.#put(',');
        this.#space();
        this.#note(`${path}[${i}]`);
        this.#value(element, `${path}[${i}]`);
        this.#space();
      }
      if (of.length > 0 && this.#choose(2) > 0) this.#put(',');
      this.#space();
      this.#put(']');
    } else if (typeof of === 'object') {
      this.#put('{');
      for (const [i, [name, element]] of Object.entries(of).entries()) {
        if (i > 0) this.#put(', ');
        this.assign(name, element, path);
      }
      this.#put('}');
    } else if (typeof of === 'string') {
      const plain = !/[\\\u007f]/.test(of);
      if (plain && !of.includes("'") && this.#choose(3) === 0) this.#put(`'${of}'`);
      else if (plain && !/""|"$/.test(of) && this.#choose(3) === 0)
        this.#put(`"""\n${of}\n${'"'.repeat(this.#choose(3))}"""`);
      else this.#put(JSON.stringify(of).replaceAll('\u007f', '\\u007f'));
    } else this.#put(String(of));
  }

  assign(name: string, of: Value, path: string): void {
    const here = join(path, name);
    this.#note(here);
    this.#put(`${this.#key(name)} = `);
    this.#value(of, here);
  }

  header(text: string, path: string): void {
    this.#put('\n'.repeat(this.#choose(3)));
    this.#note(path);
    this.#put(`${text}\n`);
  }

  end(): void {
    this.#put(['\n', ' # = [\n', '\r\n\n'][this.#choose(3)] as string);
  }
}

test('every key of generated TOML is found on the line it was written on', () => {
  const tables = fc.dictionary(key, fc.dictionary(key, value, { maxKeys: 4 }), { maxKeys: 3 });
  const lists = fc.array(fc.dictionary(key, value, { maxKeys: 3 }), { maxLength: 3 });
  let found = 0;
  fc.assert(
    fc.property(tables, lists, layout, (all, list, stream) => {
      const writer = new Writer(stream);
      for (const [name, table] of Object.entries(all)) {
        writer.header(`[${JSON.stringify(name).replaceAll('\u007f', '\\u007f')}]`, join('', name));
        for (const [k, v] of Object.entries(table)) {
          writer.assign(k, v, join('', name));
          writer.end();
        }
      }
      for (const [i, table] of list.entries()) {
        writer.header('[[the_list]]', `the_list[${i}]`);
        for (const [k, v] of Object.entries(table)) {
          writer.assign(k, v, `the_list[${i}]`);
          writer.end();
        }
      }
      fc.pre(!Object.hasOwn(all, 'the_list'));
      parse(writer.text);
      const lines = indexLines(writer.text);
      for (const [path, line] of writer.where) assert.equal(lines(path), line, `${path} in\n${writer.text}`);
      found += writer.where.length;
    }),
    { seed, numRuns: 500 },
  );
  assert.ok(found > 1000, `${found} keys looked up`);
});

test('anything at all is indexed without an error and in time', () => {
  const piece = fc.constantFrom(
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '"""',
    "'''",
    '=',
    '.',
    ',',
    '#',
    '\n',
    '\\',
    'a',
    ' ',
    '[[',
    ']]',
    'a=1',
    '\r\n',
    '[['.repeat(50),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const lines = indexLines(pieces.join(''));
      assert.ok(lines('a') >= 1);
    }),
    { seed, numRuns: 2000, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
  );
});
