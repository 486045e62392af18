/**
 * Who may use the panel and the API: people with a password, and tokens for programs. In one file of the keeper's, in
 * which no secret stands: of a password its scrypt, of a token its SHA-256, since it is 32 octets of chance.
 */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { parseAddress, parsePrefix } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { listOf, maybe, object, oneOf, type Shape, text, whole } from '../kit/shape.ts';
import type { PersonTold, Role } from '../ledger/language.ts';

/** Each may do what those before it may. */
const ROLES: readonly Role[] = ['read', 'operate', 'admin'];

export function mayDo(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

type Person = PersonTold & {
  /** `SALT.HASH` of a password, in base64url; the SHA-256 of a token */
  readonly secret: string;
};

/** Mistakes of whoever adds or removes somebody: a sentence for people. */
export class PeopleError extends Error {}

const MAX_PEOPLE = 1000;
export const MIN_PASSWORD = 12;
export const MAX_PASSWORD = 1000;
const TOKEN_PREFIX = 'pst_';
/** 32 MiB and about 60 ms each; in Node's thread pool, beside the loop. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 << 20 } as const;
const HASH_BYTES = 32;
/** Passwords that are looked at side by side; more are turned away, so that nobody can take all memory. */
const MAX_AT_ONCE = 4;

const isPerson: Shape<Person> = object<Person>({
  name: text(64),
  kind: oneOf('user', 'token'),
  role: oneOf('read', 'operate', 'admin'),
  since: whole(),
  until: maybe(whole()),
  from: maybe(listOf(text(64), 100)),
  tenant: maybe(text(64)) as Shape<string>,
  secret: text(200),
});

export class People {
  readonly #path: string;
  readonly #clock: Clock;
  #people: readonly Person[];
  #looking = 0;

  /** A file that is none of ours is kept under another name, loudly, and nobody is let in by it: mail goes on. */
  constructor(path: string, clock: Clock, log: Log) {
    this.#path = path;
    this.#clock = clock;
    this.#people = read(path, clock, log);
  }

  list(): readonly PersonTold[] {
    return this.#people.map(told);
  }

  async addUser(name: string, role: Role, password: string, tenant?: string): Promise<PersonTold> {
    if (password.length < MIN_PASSWORD || password.length > MAX_PASSWORD)
      throw new PeopleError(`a password has ${MIN_PASSWORD} to ${MAX_PASSWORD} characters`);
    const salt = randomBytes(16);
    const secret = `${salt.toString('base64url')}.${(await hashOf(password, salt)).toString('base64url')}`;
    return this.#add({
      name,
      kind: 'user',
      role,
      since: this.#clock.nowMs(),
      until: undefined,
      from: undefined,
      tenant,
      secret,
    });
  }

  /** The token is told once, here. `from`: the prefixes that it may be used from. */
  addToken(
    name: string,
    role: Role,
    until: number | undefined,
    from: readonly string[] | undefined,
    tenant?: string,
  ): { readonly person: PersonTold; readonly token: string } {
    const bad = from?.find((prefix) => !parsePrefix(prefix));
    if (bad !== undefined) throw new PeopleError(`"${bad}" is no prefix such as 192.0.2.0/24`);
    const token = `${TOKEN_PREFIX}${randomBytes(32).toString('base64url')}`;
    const person = this.#add({
      name,
      kind: 'token',
      role,
      since: this.#clock.nowMs(),
      until,
      from,
      tenant,
      secret: sha256(token),
    });
    return { person, token };
  }

  remove(name: string): PersonTold {
    const gone = this.#people.find((one) => one.name === name);
    if (!gone) throw new PeopleError(`there is no user or token "${name}"; "postern user list" lists them`);
    this.#write(this.#people.filter((one) => one !== gone));
    return told(gone);
  }

  /** Whoever has this name, as long as it may be used. */
  find(name: string): PersonTold | undefined {
    return this.#people.find((one) => one.name === name && this.#holds(one));
  }

  /** Who says so with this password: `busy` when too many are looked at just now. Takes as long for a name that is not there. */
  async byPassword(name: string, password: string): Promise<PersonTold | undefined | 'busy'> {
    if (this.#looking >= MAX_AT_ONCE) return 'busy';
    this.#looking++;
    try {
      const person = this.#people.find((one) => one.name === name && one.kind === 'user' && this.#holds(one));
      const [salt = '', kept = ''] = (person?.secret ?? '').split('.');
      const hash = await hashOf(password.slice(0, MAX_PASSWORD), Buffer.from(salt, 'base64url'));
      const expected = Buffer.from(kept, 'base64url');
      return expected.length === hash.length && timingSafeEqual(expected, hash) ? person : undefined;
    } finally {
      this.#looking--;
    }
  }

  byToken(token: string, source: string): PersonTold | undefined {
    const hash = sha256(token);
    const found = this.#people.find((one) => one.kind === 'token' && one.secret === hash && this.#holds(one));
    if (!found?.from) return found;
    const prefixes = found.from.flatMap((each) => parsePrefix(each) ?? []);
    const isFrom = parseAddress(source) && new PrefixMap(prefixes.map((each) => [each, true])).find(source);
    return isFrom ? found : undefined;
  }

  #holds({ until }: Person): boolean {
    return until === undefined || this.#clock.nowMs() < until;
  }

  #add(person: Person): PersonTold {
    if (!/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/.test(person.name))
      throw new PeopleError(`"${person.name}" is no name: 1 to 64 letters, digits, ".", "_", "@" and "-"`);
    if (person.tenant !== undefined && person.role !== 'read')
      throw new PeopleError(`whoever is bound to a tenant has the role "read": what is changed here is the operator's`);
    if (this.#people.some(({ name }) => name === person.name))
      throw new PeopleError(`there is a user or token "${person.name}" already; remove it first`);
    if (this.#people.length >= MAX_PEOPLE) throw new PeopleError(`there are ${MAX_PEOPLE} users and tokens already`);
    this.#write([...this.#people, person]);
    return told(person);
  }

  #write(people: readonly Person[]): void {
    writeAtomically(this.#path, `${JSON.stringify(people, undefined, 1)}\n`);
    this.#people = people;
  }
}

function read(path: string, clock: Clock, log: Log): readonly Person[] {
  try {
    const raw: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (!listOf(isPerson, MAX_PEOPLE)(raw)) throw new Error('it is no list of users and tokens');
    return raw;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    const kept = `${path}.damaged-${clock.nowMs()}`;
    try {
      renameSync(path, kept);
    } catch {
      // It stays where it is, and is written over by the next change.
    }
    log.write('error', 'people.damaged', { file: path, kept, error: (error as Error).message });
    return [];
  }
}

/** Everything but the secret. */
function told({ name, kind, role, since, until, from, tenant }: Person): PersonTold {
  return { name, kind, role, since, until, from, ...(tenant !== undefined && { tenant }) };
}

function sha256(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

function hashOf(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, HASH_BYTES, SCRYPT, (error, hash) =>
      error ? reject(error) : resolve(hash),
    );
  });
}
