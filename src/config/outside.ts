/**
 * What a configuration says about the system it is for: names that must resolve, files that must be there. Handed in,
 * so that a test needs neither, and a role asks only for what it needs: the guard must set its rules before the network
 * is up, when no name resolves, and may not read the password.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { lookup, Resolver } from 'node:dns/promises';
import { constants, promises as fs } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { canonical } from '../kit/address.ts';
import type { ConfigDraft, Tell } from './check.ts';
import type { Endpoint } from './value/net.ts';

/** What is left out is not checked. */
export type Outside = {
  /** The addresses of a host name. Rejects with a message that says why there are none, within a deadline. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** The state of a file, and whether `mark` occurs in it. Never rejects. */
  readonly file?: (path: string, mark?: string) => Promise<FileState>;
  /** What is wrong with a certificate and its key, and with which of the two. Never rejects. */
  readonly keyPair?: (certificatePath: string, keyPath: string) => Promise<KeyPairFault | undefined>;
  /** addresses of this machine, canonical */
  readonly localAddresses?: () => readonly string[];
};

export type FileState =
  /** `mode` has the permission bits alone */
  | { readonly readable: true; readonly mode: number; readonly sizeBytes: number; readonly hasMark: boolean }
  | { readonly readable: false; readonly reason: string };

export type KeyPairFault = { readonly key: 'certificate' | 'key'; readonly expected: string };

const RESOLVE_TIMEOUT_MS = 3000;
const MAX_READ_BYTES = 4 * 1024 * 1024;

/** One sentence each for docs/config.md. */
export const outsideDocs: readonly string[] = [
  'Each name in `smarthost.servers` resolves within 3 s (`postern check --no-resolve` leaves this out).',
  'No server is the port where the workers of this gateway listen: mail would go round in a circle.',
  '`smarthost.ca_file` can be read and has a certificate in PEM.',
  '`smarthost.password_file` can be read, is not empty, and gives no permission to others (`chmod o=`).',
  '`tls.certificate` and `tls.key` can be read, are PEM and belong together; the key gives no permission to others; the certificate is valid now (a worker that has to start later goes on with one that has ended).',
];

/** Everything, as `postern check` does it. */
export const system: Required<Outside> = {
  resolve: (name) => resolveName(name),
  file: fileState,
  keyPair: (certificatePath, keyPath) => checkKeyPair(certificatePath, keyPath, Date.now()),
  localAddresses: () =>
    Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).map(({ address }) => canonical(address) ?? address),
    ),
};

/** All checks at the same time, reported in the order of the keys. Never rejects. */
export async function checkOutside(draft: ConfigDraft, outside: Outside, { refuse }: Tell): Promise<void> {
  const { servers, caFile, passwordFile } = draft.smarthost;
  const checks = new Map<string, Promise<string | undefined>>();
  for (const [i, server] of (servers ?? []).entries()) {
    if (server) checks.set(`smarthost.servers[${i}]`, checkServer(server, draft, outside));
  }
  if (outside.file && caFile !== undefined) checks.set('smarthost.ca_file', checkCaFile(caFile, outside.file));
  const { caFile: preserveCa } = draft.preserve;
  if (outside.file && preserveCa !== undefined) checks.set('preserve.ca_file', checkCaFile(preserveCa, outside.file));
  if (outside.file && passwordFile !== undefined) {
    checks.set('smarthost.password_file', checkPasswordFile(passwordFile, outside.file));
  }
  const { certificate, key } = draft.tls;
  const pair = certificate !== undefined && key !== undefined && outside.keyPair?.(certificate, key);
  for (const part of ['certificate', 'key'] as const) {
    if (!pair) continue;
    const faultOfPart = pair.then((fault) => (fault?.key === part ? fault.expected : undefined));
    checks.set(`tls.${part}`, faultOfPart);
  }
  for (const [key, check] of checks) {
    const expected = await check;
    if (expected !== undefined) refuse(key, expected);
  }
}

/** What was expected instead; undefined when all is well. So are the two below. */
async function checkServer(
  server: Endpoint,
  { gateway, intercept }: ConfigDraft,
  { resolve, localAddresses }: Outside,
): Promise<string | undefined> {
  let addresses: readonly string[] = server.isAddress ? [server.host] : [];
  if (!server.isAddress && resolve) {
    try {
      addresses = await resolve(server.host);
    } catch (error) {
      return `a name that resolves: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  const local = new Set(localAddresses?.());
  const isHere =
    server.host === 'localhost' ||
    server.host === gateway.name?.toLowerCase() ||
    addresses.some((address) => /^(127\.|0\.0\.0\.0$|::1?$)/.test(address) || local.has(address));
  return isHere && server.port === intercept.port
    ? 'another server than the workers of this gateway, which listen at intercept.port'
    : undefined;
}

async function checkCaFile(path: string, file: NonNullable<Outside['file']>): Promise<string | undefined> {
  const state = await file(path, '-----BEGIN CERTIFICATE-----');
  if (!state.readable) return `a file that can be read: ${state.reason}`;
  return state.hasMark ? undefined : 'a file with certificates in PEM (BEGIN CERTIFICATE)';
}

async function checkPasswordFile(path: string, file: NonNullable<Outside['file']>): Promise<string | undefined> {
  const state = await file(path);
  if (!state.readable) return `a file that can be read: ${state.reason}`;
  if (state.sizeBytes === 0) return 'a file with the password in it; it is empty';
  if ((state.mode & 0o007) === 0) return undefined;
  return noneForOthers(path, state.mode);
}

/** `nowMs` undefined: one that has ended is borne with, since it is better than none for mail that waits. */
export async function checkKeyPair(
  certificatePath: string,
  keyPath: string,
  nowMs?: number,
): Promise<KeyPairFault | undefined> {
  let certificate: X509Certificate;
  const [ofCertificate, ofKey] = [await fileState(certificatePath), await fileState(keyPath)];
  if (!ofCertificate.readable)
    return { key: 'certificate', expected: `a file that can be read: ${ofCertificate.reason}` };
  try {
    certificate = new X509Certificate(await fs.readFile(certificatePath));
  } catch {
    return { key: 'certificate', expected: 'a file with a certificate in PEM, its chain behind it' };
  }
  const [from, to] = [certificate.validFromDate, certificate.validToDate];
  if (nowMs !== undefined && nowMs > to.getTime())
    return { key: 'certificate', expected: `a certificate that is valid now; it ended on ${to.toISOString()}` };
  if (nowMs !== undefined && nowMs < from.getTime())
    return { key: 'certificate', expected: `a certificate that is valid now; it begins on ${from.toISOString()}` };
  if (!ofKey.readable) return { key: 'key', expected: `a file that can be read: ${ofKey.reason}` };
  if ((ofKey.mode & 0o007) !== 0) return { key: 'key', expected: noneForOthers(keyPath, ofKey.mode) };
  try {
    const key = createPrivateKey(await fs.readFile(keyPath));
    if (certificate.checkPrivateKey(key)) return undefined;
  } catch {
    return { key: 'key', expected: 'a file with a private key in PEM, without a passphrase' };
  }
  return { key: 'key', expected: 'the key of tls.certificate; it belongs to another' };
}

function noneForOthers(path: string, mode: number): string {
  return `no permission for others; its mode is ${mode.toString(8).padStart(4, '0')}, try: chmod o= ${path}`;
}

/** What can be said of a file. It is read only when there is a mark to look for: never the password. */
export async function fileState(path: string, mark?: string): Promise<FileState> {
  try {
    const stat = await fs.stat(path);
    // A directory has no content, and opening a FIFO would wait for a writer.
    if (!stat.isFile()) return { readable: false, reason: 'it is no regular file' };
    await fs.access(path, constants.R_OK);
    const hasMark =
      mark !== undefined && stat.size <= MAX_READ_BYTES && (await fs.readFile(path, 'latin1')).includes(mark);
    return { readable: true, mode: stat.mode & 0o777, sizeBytes: stat.size, hasMark };
  } catch (error) {
    return { readable: false, reason: reasonOf(error) };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  ENOTDIR: 'a part of its path is no directory',
  EISDIR: 'it is a directory',
  ELOOP: 'it is a symbolic link, which is not followed here',
  ENOTFOUND: 'there is no such name',
  ENODATA: 'the name has no address',
  EAI_AGAIN: 'no name server answers',
  ECONNREFUSED: 'no name server answers',
  ETIMEOUT: 'no name server answers',
  ESERVFAIL: 'the name server failed',
};

/** A system error in words. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? (REASONS[code] ?? code) : error instanceof Error ? error.message : String(error);
}

export type LookUps = {
  /** the system's own way: hosts file, name services */
  readonly system: (name: string) => Promise<readonly string[]>;
  /** the name servers without the system in between; rejects when neither family has an address */
  readonly servers: (name: string, resolver: Resolver) => Promise<readonly string[]>;
};

const lookUps: LookUps = {
  system: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  servers: (name, resolver) => Promise.any([resolver.resolve4(name), resolver.resolve6(name)]),
};

/**
 * The addresses of a name. What the system says counts; when it is silent for a third of `timeoutMs`, an answer of the
 * name servers counts as well. That is because Node runs only two of the system's look-ups at a time: two names whose
 * servers are dead would make a third look dead. Rejects after `timeoutMs`.
 */
export async function resolveName(
  name: string,
  timeoutMs = RESOLVE_TIMEOUT_MS,
  { system: ask, servers }: LookUps = lookUps,
): Promise<readonly string[]> {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
  const timers: NodeJS.Timeout[] = [];
  try {
    return await new Promise((resolve, reject) => {
      ask(name).then(resolve, (error: unknown) => reject(new Error(reasonOf(error), { cause: error })));
      timers.push(
        setTimeout(() => void servers(name, resolver).then(resolve, () => {}), timeoutMs / 3),
        setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs),
      );
    });
  } finally {
    for (const timer of timers) clearTimeout(timer);
    resolver.cancel();
  }
}
