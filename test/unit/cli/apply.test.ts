/** `postern apply`: what is not confirmed goes back by itself, whoever is still there. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { begin, bootId, confirm, goBack, goBackIfOver, inEffect, trialOf } from '../../../src/config/trial.ts';
import { runCommand } from '../../../src/kit/command.ts';
import { runPaths } from '../../../src/kit/run-dir.ts';
import { hasWish, type WishAnswer, wishAnswerOf, writeWish } from '../../../src/kit/wish.ts';
import { until } from '../../kit/wait.ts';
import { goodToml } from '../config/outside.fake.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const top = mkdtempSync(join(tmpdir(), 'postern-apply-'));
after(() => rmSync(top, { recursive: true }));
let places = 0;

const OLD = goodToml.replace(/"smtp[^"]*"/, '"192.0.2.25:587"');
const NEW = `${OLD}# changed\n`;

/** A gateway that loads what it is told to load, and remembers it. */
function place() {
  const directory = join(top, `${++places}`);
  const [file, next, loaded] = [join(directory, 'a.toml'), join(directory, 'b.toml'), join(directory, 'loaded')];
  const reload = `cp ${file} ${loaded} && cat ${file} >> ${loaded}.log`;
  return {
    directory,
    file,
    next,
    loaded: () => (existsSync(loaded) ? readFileSync(loaded, 'utf8') : undefined),
    /** all that was ever loaded, one after the other */
    log: () => (existsSync(`${loaded}.log`) ? readFileSync(`${loaded}.log`, 'utf8') : ''),
    apply: (args: readonly string[], how = reload) =>
      runCommand(process.execPath, [MAIN, 'apply', ...args, '--config', file, '--reload', how], { deadlineMs: 60_000 }),
  };
}

async function ready(): Promise<ReturnType<typeof place>> {
  const p = place();
  await runCommand('mkdir', ['-p', p.directory]);
  writeFileSync(p.file, OLD);
  chmodSync(p.file, 0o640);
  writeFileSync(p.next, NEW);
  return p;
}

test('confirmed it stays; not confirmed it goes back by itself, and the rights of the file are kept', async () => {
  const p = await ready();
  const { code, stdout, stderr } = await p.apply([p.next, '--confirm', '3s']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /is in effect until .*Z; to keep it: postern apply --confirmed --config /);
  await until(() => p.log() === NEW + OLD, 'it was loaded, and went back', 60_000);
  assert.deepEqual([readFileSync(p.file, 'utf8'), statSync(p.file).mode & 0o777], [OLD, 0o640]);
  assert.deepEqual([existsSync(`${p.file}.before`), existsSync(`${p.file}.trial`)], [false, false]);

  assert.equal((await p.apply([p.next, '--confirm', '1h'])).code, 0);
  assert.equal((await p.apply(['--confirmed'])).code, 0);
  assert.deepEqual([readFileSync(p.file, 'utf8'), existsSync(`${p.file}.before`)], [NEW, false]);
  assert.equal(statSync(p.file).mode & 0o777, 0o640);
  assert.match((await p.apply(['--confirmed'])).stderr, /nothing is on trial/);
});

test('a second trial ends the first, and goes back to before both', async () => {
  const p = await ready();
  writeFileSync(`${p.next}2`, `${NEW}# twice\n`);
  await p.apply([p.next, '--confirm', '1h']);
  await p.apply([`${p.next}2`, '--confirm', '1h']);
  assert.equal(p.loaded(), `${NEW}# twice\n`);
  assert.equal((await p.apply(['--back'])).code, 0);
  assert.deepEqual([p.loaded(), readFileSync(p.file, 'utf8')], [OLD, OLD]);
});

test('what is wrong changes nothing; where the gateway does not reload, it went back', async () => {
  const p = await ready();
  writeFileSync(p.next, NEW.replace('lan0', 'a name that is far too long'));
  const wrong = await p.apply([p.next, '--confirm', '1h']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /intercept\.inside\[0\].*\n.*nothing was changed/s);
  assert.equal(p.log(), '');
  writeFileSync(p.next, NEW);
  const refused = await p.apply([p.next, '--confirm', '1h'], 'echo it will not >&2; exit 3');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /ended with 3: it will not; .* is as it was before/);
  assert.equal(readFileSync(p.file, 'utf8'), OLD);
  assert.equal((await p.apply([p.next])).code, 2);
});

test('what a gateway takes with a restart alone is not put on trial', async () => {
  const p = await ready();
  for (const [change, says] of [
    [NEW.replace('[gateway]', '[gateway]\nrun_dir = "/tmp/elsewhere"'), /gateway\.run_dir needs a restart/],
    [`${NEW}[[network]]\nname = "kept"\nprefixes = ["203.0.113.0/24"]\negress = "preserve"\n`, /egress = "preserve"/],
  ] as const) {
    writeFileSync(p.next, change);
    const { code, stderr } = await p.apply([p.next, '--confirm', '1h']);
    assert.equal(code, 1, stderr);
    assert.match(stderr, says);
    assert.deepEqual([readFileSync(p.file, 'utf8'), p.log(), existsSync(`${p.file}.trial`)], [OLD, '', false]);
  }
});

test('what a crash in the middle of a trial has left is not what a later one goes back to, and holds up nobody', async () => {
  const p = await ready();
  const trial = { until: Date.now() + 3_600_000, id: 'ours', boot: bootId(), told: undefined };
  // Before the note was written, or after it was taken away.
  writeFileSync(`${p.file}.before`, '# long ago\n');
  assert.equal(goBack(p.file), false);
  begin(p.file, p.next, trial);
  assert.equal(goBack(p.file), true);
  assert.equal(readFileSync(p.file, 'utf8'), OLD);
  // After it was decided, before the note was taken away.
  begin(p.file, p.next, { ...trial, until: 0 });
  rmSync(`${p.file}.before`);
  assert.equal(inEffect(p.file), p.file);
  assert.equal(goBackIfOver(p.file), false);
  assert.deepEqual([readFileSync(p.file, 'utf8'), trialOf(p.file), confirm(p.file)], [NEW, undefined, false]);
});

test('after a restart of the machine, and where nobody waited, the one before is in effect', async () => {
  const p = await ready();
  for (const change of [{ boot: 'another' }, { until: Date.now() - 3_600_000 }, {}]) {
    assert.equal((await p.apply([p.next, '--confirm', '1h'])).code, 0);
    const note = `${p.file}.trial`;
    writeFileSync(
      note,
      JSON.stringify({ ...(JSON.parse(readFileSync(note, 'utf8')) as object), ...change, id: 'another' }),
    );
    const isOver = Object.keys(change).length > 0;
    assert.equal(inEffect(p.file), isOver ? `${p.file}.before` : p.file);
    assert.equal((await p.apply(['--if-over'])).code, 0);
    assert.deepEqual([readFileSync(p.file, 'utf8'), existsSync(note)], isOver ? [OLD, false] : [NEW, true]);
  }
  assert.equal((await p.apply(['--back'])).code, 0);
});

test('a wish of the panel is carried out where the configuration lets it; a stale one, a link and nonsense are not', async () => {
  const p = await ready();
  const [stateDir, runDir] = [join(p.directory, 'state'), join(p.directory, 'run')];
  for (const directory of [stateDir, runDir]) mkdirSync(directory);
  const dirs = `[gateway]\nstate_dir = "${stateDir}"\nrun_dir = "${runDir}"`;
  const closed = OLD.replace('[gateway]', dirs);
  const open = `${closed}[panel]\napply = true\n`;
  const next = `${open}# changed\n`;
  const wish = async (of: object): Promise<[number, WishAnswer | undefined]> => {
    writeWish(stateDir, {
      id: '01HZX3V9Q0000001',
      at: Date.now(),
      what: 'apply',
      text: next,
      confirmMs: 3_600_000,
      ...of,
    });
    const { code } = await p.apply(['--wish']);
    assert.equal(hasWish(stateDir), false, 'it is taken away, whatever it was');
    return [code, wishAnswerOf(runPaths(runDir).wishAnswer)];
  };
  writeFileSync(p.file, closed);
  const [, refused] = await wish({ id: '01HZX3V9Q0000000' });
  assert.deepEqual(refused, {
    id: '01HZX3V9Q0000000',
    ok: false,
    text: 'panel.apply is not set: the panel changes nothing',
  });
  writeFileSync(p.file, open);
  assert.deepEqual((await wish({ at: Date.now() - 120_000 }))[0], 1);
  assert.deepEqual((await wish({ what: 'all' }))[0], 1);
  assert.deepEqual((await wish({ id: '' }))[0], 1);
  writeFileSync(
    join(p.directory, 'elsewhere'),
    JSON.stringify({ id: '01HZX3V9Q0000001', at: Date.now(), what: 'apply', text: next, confirmMs: 9000 }),
  );
  symlinkSync(join(p.directory, 'elsewhere'), join(stateDir, 'wish.json'));
  assert.equal((await p.apply(['--wish'])).code, 1);
  assert.equal(readFileSync(p.file, 'utf8'), open);
  const [wrongCode, wrong] = await wish({ text: 'nonsense = 1\n' });
  assert.equal(wrongCode, 1);
  assert.match(wrong?.text ?? '', /^the new configuration:1: .*expected/);
  const secrets = join(p.directory, 'secrets');
  mkdirSync(secrets);
  writeFileSync(join(secrets, 'a.csv'), 'root:a-secret\n');
  const [otherCode, other] = await wish({ text: `${next}[subscribers]\ndirectory = "${secrets}"\n` });
  assert.equal(otherCode, 1);
  assert.match(other?.text ?? '', /^subscribers\.directory .* is not changed from the panel/);
  const [code, answer] = await wish({ id: '01HZX3V9Q0000002' });
  assert.deepEqual([code, answer?.id, answer?.ok], [0, '01HZX3V9Q0000002', true]);
  assert.equal(readFileSync(p.file, 'utf8'), next);
  const { until: ends } = JSON.parse(readFileSync(runPaths(runDir).trial, 'utf8')) as { until: number };
  assert.ok(ends > Date.now() + 3_000_000);
  assert.equal((await wish({ what: 'back' }))[0], 0);
  assert.deepEqual([readFileSync(p.file, 'utf8'), existsSync(runPaths(runDir).trial)], [open, false]);
});
