import { parseArgs } from 'node:util';
import { parseDurationMs } from '../config/value/quantity.ts';
import { type Lock, type LockAnswer, type LockHow, MAX_REASON } from '../ledger/language.ts';
import { LockError, lockSubject } from '../ledger/locks.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { shown, time } from './show.ts';

const EFFECTS: Readonly<Record<LockHow, string>> = {
  reject: 'every recipient is refused with 550',
  defer: 'every recipient is put off with 450',
  kernel: 'the kernel refuses its connections',
};
const IDENTITY_EFFECTS: Readonly<Record<string, string>> = {
  reject: 'each of its messages is refused with 550',
  defer: 'each of its messages is put off with 451',
};

export const command: Command = {
  name: 'lock',
  summary: 'stop an address or a prefix from sending',
  help: `Usage: postern lock ADDRESS|PREFIX|@NAME|tenant:NAME --reason TEXT [--identity WHO] [--how HOW] [--for TIME]
                    [--config FILE | --run-dir DIR]

Stops a source from sending, at once and over restarts. An IPv6 address stands for its /64, since a host has a whole
/64 to choose from; ADDRESS/128 means that one alone. @NAME is a configured subscriber with all its prefixes, tenant:NAME all
of a tenant. Locking again changes the lock. What is in locks.management is never locked.

  --identity WHO  only this identity behind it (setting "identity"): refused after each message, others go on
  --reason TEXT   why; shown by "postern locks", never to the sender
  --how HOW       reject   550 to every recipient, each attempt recorded (default)
                  defer    450: the sender tries again by itself later
                  kernel   connections are refused before a worker sees them, running ones end with 550
  --for TIME      how long, for example 30m, 2h, 7d; without it until "postern unlock"
${askHelp}

Examples: postern lock 198.51.100.7 --reason "spam run, ticket 4711" --for 2h
          postern lock @web-17 --identity bob --reason "password stolen"
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...askOptions,
        reason: { type: 'string' },
        identity: { type: 'string' },
        how: { type: 'string', default: 'reject' },
        for: { type: 'string' },
      },
    });
    const subject = subjectOf(positionals);
    const { reason, how, identity } = values;
    if (reason === undefined || reason.trim() === '')
      throw new UsageError('--reason TEXT is needed: whoever unlocks wants to know');
    if (reason.length > MAX_REASON) throw new UsageError(`--reason has more than ${MAX_REASON} characters`);
    if (!isHow(how)) throw new UsageError(`--how is reject, defer or kernel, not "${how}"`);
    const lengthMs = values.for === undefined ? undefined : parseDurationMs(values.for);
    if (values.for !== undefined && (lengthMs === undefined || lengthMs === 0))
      throw new UsageError(`--for takes a time such as 30m, 2h or 7d, not "${values.for}"`);

    const until = lengthMs === undefined ? undefined : Date.now() + lengthMs;
    if (identity !== undefined && how === 'kernel')
      throw new UsageError('the kernel knows no identities: --how is reject or defer beside --identity');
    const lock = { subject, identity, how, reason, who: whoAmI(), ...(until !== undefined && { until }) };
    // The key may be missing in JSON; Lock says that it is there and may be undefined.
    const answer = (await ask('lock', values, { of: 'lock', lock: { ...lock, until } }, io)) as LockAnswer | undefined;
    if (answer === undefined) return 1;
    const end = answer.lock.until === undefined ? 'until "postern unlock"' : `until ${time(answer.lock.until)}`;
    const effect = (identity === undefined ? EFFECTS : IDENTITY_EFFECTS)[answer.lock.how];
    io.out(`${shown(lockName(answer.lock))} is locked ${end}: ${effect}`);
    if (answer.notKept !== undefined)
      io.err(
        `postern lock: it holds now, but not over a restart: ${shown(answer.notKept)}; it is written as soon as that is mended`,
      );
    return 0;
  },
};

/** The prefix that the argument means. Throws UsageError, also when it may not be locked at all. */
export function subjectOf(positionals: readonly string[]): string {
  const [given, ...more] = positionals;
  if (given === undefined || more.length > 0)
    throw new UsageError('name one address or prefix, for example 198.51.100.7');
  try {
    return lockSubject(given);
  } catch (error) {
    if (error instanceof LockError) throw new UsageError(error.message);
    throw error;
  }
}

/** `198.51.100.7/32`, `bob at @web-17` */
export function lockName({ subject, identity }: Lock): string {
  return identity === undefined ? subject : `${identity} at ${subject}`;
}

function isHow(text: string): text is LockHow {
  return Object.hasOwn(EFFECTS, text);
}
