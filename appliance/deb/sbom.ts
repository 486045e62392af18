/** What is in the package that others have written: a CycloneDX 1.5 bill of materials, and Debian's copyright file. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Part = {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** of what was fetched: `sha512-…` in base64, as package-lock.json has it */
  readonly integrity: string;
};

type Locked = {
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly name?: string;
};

/** `paths` as in package-lock.json: `node_modules/mailauth/node_modules/nodemailer`. */
export function partsOf(top: string, paths: readonly string[]): Part[] {
  const { packages } = JSON.parse(readFileSync(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const parts = paths.map((path): Part => {
    const locked = packages[path];
    if (!locked?.license || !locked.integrity)
      throw new Error(`package-lock.json: ${path}: expected a licence and a checksum`);
    // A package under another name than its own has it in the lock file.
    const name = locked.name ?? path.replace(/^.*node_modules\//, '');
    return { name, version: locked.version, licence: locked.license, integrity: locked.integrity };
  });
  return parts.sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

export function billOfMaterials(parts: readonly Part[], version: string, epochS: number): string {
  const bill = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epochS * 1000).toISOString(),
      component: { type: 'application', name: 'postern', version, licenses: [{ license: { id: 'Apache-2.0' } }] },
    },
    components: parts.map(({ name, version: v, licence, integrity }) => ({
      type: 'library',
      'bom-ref': urlOf(name, v),
      name,
      version: v,
      purl: urlOf(name, v),
      licenses: [/ (?:OR|AND) /.test(licence) ? { expression: licence } : { license: { id: licence } }],
      hashes: [{ alg: 'SHA-512', content: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex') }],
    })),
  };
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}

/** https://github.com/package-url/purl-spec: the @ of a scope is escaped. */
function urlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

export function copyright(parts: readonly Part[]): string {
  const paragraphs = parts.map(
    ({ name, version, licence }) =>
      `Files: usr/lib/postern/*${name}*\nCopyright: the authors of ${name} ${version}\nLicense: ${licence}`,
  );
  const licences = [...new Set(parts.map(({ licence }) => licence))].filter((one) => one !== 'Apache-2.0').sort();
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: postern

Files: *
Copyright: the authors of Postern
License: Apache-2.0

${paragraphs.join('\n\n')}

License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.

${licences.map((one) => `License: ${one}\n The text is with the files, in LICENSE or README of each directory below\n /usr/lib/postern/node_modules, that of Node in /usr/share/doc/postern/node-LICENSE.`).join('\n\n')}
`;
}
