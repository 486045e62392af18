import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { parseDurationMs } from '../config/value/quantity.ts';
import type { PersonTold, Question, Role } from '../ledger/language.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import { type Command, type Io, UsageError } from './command.ts';
import { shown, table, time } from './show.ts';

const ROLES: readonly string[] = ['read', 'operate', 'admin'];
const options = {
  ...askOptions,
  role: { type: 'string' },
  admin: { type: 'boolean', default: false },
  for: { type: 'string' },
  from: { type: 'string', multiple: true },
  tenant: { type: 'string' },
} as const;
type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

export const command: Command = {
  name: 'user',
  summary: 'say who may use the panel and the API',
  help: `Usage: postern user add NAME [--role ROLE | --admin] [--config FILE | --run-dir DIR]
       postern user token NAME [--role ROLE] [--for TIME] [--from PREFIX]...
       postern user list
       postern user remove NAME

add     somebody who logs in with a password, which is read from standard input: 12 characters or more
token   a program that brings a token; it is printed once, and kept nowhere
list    who there is
remove  at once: who is logged in is logged out

  --role ROLE    read      look at everything (default)
                 operate   lock and unlock, too
                 admin     see who looked at what, see and change the configuration, too
  --admin        the same as --role admin
  --for TIME     how long a token holds, such as 30d; without it until it is removed
  --tenant NAME  shows nothing but what the hosts of this tenant sent, and their locks; with the role read alone
  --from PREFIX  where a token may be used from, such as 192.0.2.0/24; may be given several times
${askHelp}

Examples: postern user add anna --admin
          postern user token grafana --for 365d --from 192.0.2.10/32
          postern user add shop --tenant example-hosting
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const [verb, name, ...more] = positionals;
    if (verb === 'list' && name === undefined) return list(values, io);
    if (name === undefined || more.length > 0)
      throw new UsageError('name what to do, add, token, list or remove, and one name');
    switch (verb ?? '') {
      case 'add':
        return add(name, values, io);
      case 'token':
        return token(name, values, io);
      case 'remove':
        return remove(name, values, io);
      default:
        throw new UsageError(`"${shown(verb ?? '')}" is none of add, token, list and remove`);
    }
  },
};

async function add(name: string, values: Values, io: Io): Promise<number> {
  const role = roleOf(values);
  const question: Question = {
    ...{ of: 'user-add', name, role, tenant: values.tenant, who: whoAmI() },
    password: await readPassword(io),
  };
  const person = (await ask('user', values, question, io)) as PersonTold | undefined;
  if (!person) return 1;
  io.out(`${person.name} may log in, with the role ${person.role}`);
  return 0;
}

async function token(name: string, values: Values, io: Io): Promise<number> {
  const role = roleOf(values);
  const lengthMs = values.for === undefined ? undefined : parseDurationMs(values.for);
  if (values.for !== undefined && !lengthMs)
    throw new UsageError(`--for takes a time such as 30d, not "${values.for}"`);
  const until = lengthMs === undefined ? undefined : Date.now() + lengthMs;
  const question: Question = {
    ...{ of: 'token-add', name, role, until, from: values.from, tenant: values.tenant, who: whoAmI() },
  };
  const added = (await ask('user', values, question, io)) as { readonly token: string } | undefined;
  if (!added) return 1;
  io.out(added.token);
  io.err(`postern user: this is all that is ever shown of it. Use: curl -H "Authorization: Bearer TOKEN" …/api/status`);
  return 0;
}

async function remove(name: string, values: Values, io: Io): Promise<number> {
  const person = (await ask('user', values, { of: 'person-remove', name, who: whoAmI() }, io)) as
    | PersonTold
    | undefined;
  if (!person) return 1;
  io.out(`the ${person.kind} ${person.name} is removed`);
  return 0;
}

async function list(values: Values, io: Io): Promise<number> {
  const people = (await ask('user', values, { of: 'people' }, io)) as readonly PersonTold[] | undefined;
  if (!people) return 1;
  if (people.length === 0) io.err('nobody yet; "postern user add NAME --admin" makes the first');
  else
    io.out(
      table(
        ['NAME', 'KIND', 'ROLE', 'TENANT', 'SINCE', 'UNTIL', 'FROM'],
        people.map(({ name, kind, role, since, until, from, tenant }) => [
          ...[
            name,
            kind,
            role,
            tenant ?? '-',
            time(since),
            until === undefined ? '-' : time(until),
            from?.join(' ') ?? 'everywhere',
          ],
        ]),
      ),
    );
  return 0;
}

function roleOf({ role, admin }: Values): Role {
  if (admin && role !== undefined && role !== 'admin')
    throw new UsageError('--admin and another --role exclude each other');
  const chosen = admin ? 'admin' : (role ?? 'read');
  if (!ROLES.includes(chosen)) throw new UsageError(`--role is read, operate or admin, not "${chosen}"`);
  return chosen as Role;
}

/** One line of standard input; on a terminal it is asked for and not shown. */
async function readPassword(io: Io): Promise<string> {
  const { stdin } = process;
  if (!stdin.isTTY) {
    const lines = createInterface({ input: stdin });
    for await (const line of lines) return line;
    throw new UsageError('the password is read from standard input, which is empty');
  }
  io.err('Password (12 characters or more; it is not shown):');
  stdin.setRawMode(true);
  try {
    let typed = '';
    for await (const chunk of stdin.setEncoding('utf8')) {
      for (const key of chunk as string) {
        if (key === '\u0003') throw new UsageError('given up');
        if (key === '\r' || key === '\n') return typed;
        typed = key === '\u007f' ? typed.slice(0, -1) : typed + key;
      }
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
  }
}
