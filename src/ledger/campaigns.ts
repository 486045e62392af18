/**
 * Messages that look alike, over all workers, and how many different subscribers send them: a botnet that stays below
 * every single limit is seen as one, and the large newsletter of one subscriber is not.
 *
 * A sketch of a text is 63 numbers, of which two texts share about as many as their words overlap (MinHash). Three at a
 * time they are looked up, so that texts that share half their words nearly always meet (locality-sensitive hashing).
 */
import type { CampaignAnswer, Inquiry } from './inquiry.ts';

type Question = Extract<Inquiry, { of: 'campaign' }>;

type Cluster = {
  /** of members that are not too like one another: what is like any of them is a member */
  readonly sketches: Uint32Array[];
  readonly bands: number[];
  readonly keys: string[];
  /** when each was last seen in it */
  readonly subscribers: Map<string, number>;
  readonly identities: Map<string, number>;
  /** copies of one message: who sent it first stands for all */
  readonly copies: Set<string>;
  messages: number;
};

const ROWS = 3;
/** Of 63 numbers: texts that share a third of their words; ordinary mails of one language share a tenth. */
const LIKE = 22;
const SAME = 50;
const MAX_SKETCHES = 12;
const MAX_CANDIDATES = 100;
/** of each in one cluster; what is beyond changes nothing that is asked */
const MAX_MEMBERS = 5000;

export type CampaignSettings = { readonly windowMs: number; readonly maxClusters: number };

export class Campaigns {
  settings: CampaignSettings;
  readonly #byBand = new Map<number, Cluster[]>();
  readonly #byKey = new Map<string, Cluster>();
  /** the one that was seen longest ago first; those of a single subscriber apart, for they go first */
  readonly #single = new Map<Cluster, number>();
  readonly #many = new Map<Cluster, number>();

  constructor(settings: CampaignSettings) {
    this.settings = settings;
  }

  get size(): number {
    return this.#single.size + this.#many.size;
  }

  ask(question: Question, nowMs: number): CampaignAnswer {
    const { subscriber, identity, keys, copy } = question;
    const sketch = Uint32Array.from(question.sketch);
    if (sketch.length === 0 && keys.length === 0) return { of: 'campaign', subscribers: 1, identities: 1, messages: 1 };
    const bands = bandsOf(sketch);
    const cluster = this.#find(sketch, bands, keys) ?? this.#begin();
    this.#learn(cluster, sketch, bands, keys);
    this.#prune(cluster, nowMs);
    cluster.messages++;
    const isCopy = copy !== undefined && cluster.copies.has(copy);
    if (copy !== undefined && cluster.copies.size < MAX_MEMBERS) cluster.copies.add(copy);
    if (!isCopy) {
      see(cluster.subscribers, subscriber, nowMs);
      see(cluster.identities, identity, nowMs);
    }
    this.#touch(cluster, nowMs);
    return {
      of: 'campaign',
      subscribers: isCopy ? 1 : cluster.subscribers.size,
      identities: isCopy ? 1 : cluster.identities.size,
      messages: cluster.messages,
    };
  }

  #find(sketch: Uint32Array, bands: readonly number[], keys: readonly string[]): Cluster | undefined {
    let best: Cluster | undefined;
    let mostLike = LIKE - 1;
    const seen = new Set<Cluster>();
    for (const band of bands) {
      for (const cluster of this.#byBand.get(band) ?? []) {
        if (seen.size >= MAX_CANDIDATES) break;
        if (seen.has(cluster)) continue;
        seen.add(cluster);
        for (const one of cluster.sketches) {
          const like = likeness(one, sketch);
          if (like > mostLike) [best, mostLike] = [cluster, like];
        }
      }
    }
    if (best) return best;
    for (const key of keys) {
      const cluster = this.#byKey.get(key);
      if (cluster) return cluster;
    }
    return undefined;
  }

  #begin(): Cluster {
    while (this.size >= this.settings.maxClusters) {
      const [oldest] = this.#single.size > 0 ? this.#single.keys() : this.#many.keys();
      if (!oldest) break;
      this.#drop(oldest);
    }
    return {
      sketches: [],
      bands: [],
      keys: [],
      subscribers: new Map(),
      identities: new Map(),
      copies: new Set(),
      messages: 0,
    };
  }

  #learn(cluster: Cluster, sketch: Uint32Array, bands: readonly number[], keys: readonly string[]): void {
    const isNew =
      sketch.length > 0 &&
      cluster.sketches.length < MAX_SKETCHES &&
      cluster.sketches.every((one) => likeness(one, sketch) < SAME);
    if (isNew) {
      cluster.sketches.push(sketch);
      for (const band of bands) {
        const at = this.#byBand.get(band);
        if (at === undefined) this.#byBand.set(band, [cluster]);
        else if (!at.includes(cluster)) at.push(cluster);
        else continue;
        cluster.bands.push(band);
      }
    }
    for (const key of keys) {
      if (this.#byKey.has(key) || cluster.keys.length >= MAX_MEMBERS) continue;
      this.#byKey.set(key, cluster);
      cluster.keys.push(key);
    }
  }

  #drop(cluster: Cluster): void {
    this.#single.delete(cluster);
    this.#many.delete(cluster);
    for (const band of cluster.bands) {
      const at = this.#byBand.get(band) ?? [];
      if (at.length <= 1) this.#byBand.delete(band);
      else at.splice(at.indexOf(cluster), 1);
    }
    for (const key of cluster.keys) this.#byKey.delete(key);
  }

  /** Members that were seen before the window; they stand in the order in which they were last seen. */
  #prune(cluster: Cluster, nowMs: number): void {
    const sinceMs = nowMs - this.settings.windowMs;
    for (const members of [cluster.subscribers, cluster.identities]) {
      for (const [member, atMs] of members) {
        if (atMs >= sinceMs) break;
        members.delete(member);
      }
    }
    if (cluster.subscribers.size === 0) cluster.messages = 0;
  }

  #touch(cluster: Cluster, nowMs: number): void {
    this.#single.delete(cluster);
    this.#many.delete(cluster);
    (cluster.subscribers.size > 1 ? this.#many : this.#single).set(cluster, nowMs);
    // What nobody has sent for a whole window is forgotten.
    const sinceMs = nowMs - this.settings.windowMs;
    for (const all of [this.#single, this.#many]) {
      for (const [oldest, atMs] of all) {
        if (atMs >= sinceMs) break;
        this.#drop(oldest);
      }
    }
  }
}

function see(members: Map<string, number>, member: string, nowMs: number): void {
  members.delete(member);
  if (members.size < MAX_MEMBERS) members.set(member, nowMs);
}

function likeness(a: Uint32Array, b: Uint32Array): number {
  let same = 0;
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++;
  return same;
}

/** Three numbers at a time, each group with its place. */
function bandsOf(sketch: Uint32Array): number[] {
  const bands: number[] = [];
  for (let at = 0; at + ROWS <= sketch.length; at += ROWS) {
    let hash = at + 1;
    for (let i = 0; i < ROWS; i++) hash = Math.imul(hash ^ (sketch[at + i] as number), 0x9e3779b1) ^ (hash >>> 15);
    bands.push(hash);
  }
  return bands;
}
