/** Certificates made when a test runs; none is in the repository. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Certificate = {
  readonly key: string;
  readonly cert: string;
  /** of the certificate, which is its own authority: what `smarthost.ca_file` takes */
  readonly certPath: string;
};

/** A certificate of its own authority, valid for two days, for names such as `DNS:mx.example.net` or `IP:127.0.0.1`. */
export function makeCertificate(directory: string, label: string, ...names: string[]): Certificate {
  const keyPath = join(directory, `${label}.key`);
  const certPath = join(directory, `${label}.pem`);
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${label}`, '-addext', `subjectAltName=${names.join(',')}`],
      ...['-keyout', keyPath, '-out', certPath],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 },
  );
  return { key: readFileSync(keyPath, 'utf8'), cert: readFileSync(certPath, 'utf8'), certPath };
}
