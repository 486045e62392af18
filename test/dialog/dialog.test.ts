/**
 * Every dialog as it stands, and again with what either side says cut at every place: the outcome is the same.
 *
 * Folders: normal ways, misbehaviours of the host, misbehaviours of the server.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { isLong } from '../kit/tier.ts';
import { type Cut, cutsOf, parseDialog, playDialog } from './dialog.ts';

const FOLDERS = ['normal', 'host', 'server'] as const;
/** In the short tier: every 10th place and all edges, but of no dialog more than about so many. */
const SHORT_STRIDE = 10;
const SHORT_MOST = 200;
/** Dialogs whose outcome takes a deadline to come: each cut costs that long. */
const WAITING_STRIDE = 40;
const PARALLEL = 8;

function dialogsOf(folder: string): string[] {
  return readdirSync(new URL(folder, import.meta.url))
    .filter((name) => name.endsWith('.dialog'))
    .sort();
}

/** Where to cut in this run: everywhere, or in the short tier in some places, always the same ones. */
function chosen(cuts: readonly Cut[], waits: boolean): readonly Cut[] {
  if (isLong) return cuts;
  if (waits) return everyNth(cuts, WAITING_STRIDE);
  const edges = cuts.filter(({ isEdge }) => isEdge);
  const others = cuts.filter(({ isEdge }) => !isEdge);
  return [edges, others.filter((_cut, i) => i % SHORT_STRIDE === 0)].flatMap((some) =>
    everyNth(some, Math.ceil(some.length / SHORT_MOST)),
  );
}

function everyNth(cuts: readonly Cut[], n: number): readonly Cut[] {
  return cuts.filter((_cut, i) => i % n === 0);
}

for (const folder of FOLDERS) {
  describe(`Shows 4: dialogs, ${folder}`, () => {
    for (const name of dialogsOf(folder)) {
      const text = readFileSync(new URL(`${folder}/${name}`, import.meta.url), 'utf8');
      const script = parseDialog(text);
      test(name.replace('.dialog', ''), async () => {
        await playDialog(script);
      });
      test(`${name.replace('.dialog', '')}, cut at every place`, async () => {
        const cuts = chosen([...cutsOf(script)], /timeout = /.test(text));
        for (let at = 0; at < cuts.length; at += PARALLEL) {
          await Promise.all(
            cuts.slice(at, at + PARALLEL).map(async (cut) => {
              try {
                await playDialog(script, cut);
              } catch (error) {
                throw new Error(`cut in line ${cut.line} at ${cut.at}: ${(error as Error).message}`, { cause: error });
              }
            }),
          );
        }
      });
    }
  });
}

test('Shows 4: at least 40 misbehaviours of either side are played', () => {
  const count = dialogsOf('host').length + dialogsOf('server').length;
  assert.ok(count >= 40, `${count}`);
});
