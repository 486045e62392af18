/** The panel in a real browser, before a real gateway with real mail: what an operator does with it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Doorway, openDoorway } from '../../src/lab/doorway.ts';
import { PANEL } from '../../src/lab/gateway.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { PLACES } from '../../src/lab/network.ts';
import { GTUBE, PLACED } from '../../src/lab/script.ts';
import { type Saw, withSwaks } from '../../src/lab/send.ts';
import { silentLog } from '../../src/kit/log.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { askKeeper } from '../../src/ledger/ask.ts';
import { createLedger } from '../../src/ledger/client.ts';
import { keeperSocket } from '../../src/ledger/language.ts';
import { shown } from '../../src/panel/page/words.ts';
import type { Attempt } from '../../src/record/events.ts';
import type { LogAnswer } from '../../src/record/query.ts';
import { attempt } from '../unit/ledger/sample.ts';
import { needsRoot } from '../kit/tier.ts';
import { markup } from './markup.ts';

const HOST = PLACED.customer.v4;
const BROWSER = '/usr/bin/chromium';
const isUpdating = process.env['POSTERN_UPDATE_GOLDEN'] !== undefined;

describe('the panel in a browser', { skip: needsRoot, timeout: 300_000 }, () => {
  let lab: Lab;
  let doorway: Doorway;
  let browser: Browser;
  let page: Page;
  let password: string;
  /** what the browser complained of, and whom it asked besides us */
  const complaints: string[] = [];

  before(async () => {
    lab = await startLab({ keep: undefined, onProgress: () => {}, signal: AbortSignal.timeout(240_000) });
    closers.push(lab.close);
    doorway = await openDoorway(lab.network.gateway, PANEL, 0);
    closers.push(doorway.close);
    password = await lab.gateway.addUser();
    browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
    closers.push(() => browser.close());
    page = await browser.newPage({ viewport: { width: 1100, height: 800 } });
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(address()) && !request.url().startsWith('data:'))
        complaints.push(`asked ${request.url()}`);
    });
  });
  const closers: (() => Promise<unknown>)[] = [];
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  /** The pictures of docs/panel.md, made anew with --update-golden. */
  const picture = async (name: string): Promise<void> => {
    if (!isUpdating) return;
    await page.waitForTimeout(2_500);
    await page.screenshot({ path: join(import.meta.dirname, `../../docs/panel/${name}.png`) });
  };
  const address = (): string => `http://127.0.0.1:${doorway.port}/`;
  const send = (
    change: { readonly from?: string; readonly subject?: string; readonly body?: string; readonly helo?: string } = {},
  ): Promise<Saw> => {
    const {
      from = 'alice@customer.example',
      subject = 'x',
      body = 'One line.',
      helo = 'host.customer.example',
    } = change;
    const head = `From: <${from}>\r\nDate: ${new Date().toUTCString().replace('GMT', '+0000')}\r\nSubject: ${subject}\r\n`;
    return withSwaks(lab.network.inside, {
      ...{ source: HOST, server: PLACES.direct.v4, port: 25, helo, from, to: ['bob@example.org'] },
      message: Buffer.from(`${head}\r\n${body}\r\n`),
    });
  };

  test('who is not logged in sees a form and nothing else; a wrong password is told', async () => {
    await page.goto(`${address()}#/log`);
    await page.fill('input[name=name]', 'lab');
    await page.fill('input[name=password]', 'not the password');
    await page.click('button');
    await page.waitForSelector('text=do not belong together');
    assert.equal(await page.locator('nav').count(), 0);
    // The browser itself says that there was a 401.
    assert.equal(complaints.splice(0).length, 1);
  });

  test('Shows 1: log-in; the refused message is found by the id in the reply, and its page says why', async () => {
    await page.fill('input[name=password]', password);
    await page.click('button');
    await page.waitForSelector('nav');
    const { reply } = await send({ body: GTUBE });
    assert.match(reply, /^550 /);
    await page.goto(`${address()}#/log`);
    // As it stands in the bounce.
    await page.fill('input[name=q]', reply);
    await page.click('table.log tbody tr td a');
    await page.waitForSelector('.story');
    const story = await page.innerText('.story');
    for (const part of [
      HOST,
      'alice@customer.example',
      'bob@example.org',
      'GTUBE',
      'spam.gtube',
      'was not given the message',
      '550 5.7.1',
    ])
      assert.ok(story.includes(part), `${part} in ${story}`);
    await picture('message');
  });

  test('Shows 1: a host is locked and unlocked, and the next mail sees it', async () => {
    assert.match((await send()).reply, /^250 /);
    await page.goto(`${address()}#/senders/${HOST}`);
    await page.waitForSelector('form.lock');
    await picture('sender');
    await page.fill('form.lock input[name=reason]', 'tried in the browser');
    await page.click('form.lock button');
    await page.waitForSelector('text=tried in the browser');
    assert.match((await send()).reply, /^550 .*locked\.subscriber/);
    await page.goto(`${address()}#/locks`);
    await page.click('table button:has-text("Unlock")');
    await page.waitForSelector('text=Nobody is locked.');
    assert.match((await send()).reply, /^250 /);
  });

  test('Shows 1: a host is moved on the ladder and back, and its next connection sees it', async () => {
    const seen = async (pattern: RegExp): Promise<void> => {
      let saw = await send();
      for (let i = 0; i < 50 && !pattern.test(`${saw.reply}${saw.failure}`); i++) saw = await send();
      assert.match(`${saw.reply}${saw.failure}`, pattern);
    };
    await page.goto(`${address()}#/senders/${HOST}`);
    await page.selectOption('form.step select[name=mode]', 'block');
    await page.fill('form.step input[name=reason]', 'moved in the browser');
    await page.click('form.step button');
    await page.waitForSelector('text=moved in the browser');
    await seen(/Connection refused/);
    await page.click('button:has-text("Back")');
    await page.waitForSelector('text=moved in the browser', { state: 'detached' });
    await seen(/^250 /);
  });

  test('Now says that it intercepts, live, and draws the day', async () => {
    await page.goto(`${address()}#/now`);
    await page.waitForSelector('.standing.good');
    await page.waitForSelector('.chart canvas');
    await page.waitForSelector(`table a:has-text("${HOST}")`);
    await picture('now');
  });

  test('Shows 1: a limit is changed: looked at, applied, seen in the next mail, and back; unconfirmed it goes back by itself', async () => {
    const file = page.locator('textarea.file');
    const inFile = (): string => readFileSync(lab.gateway.configPath, 'utf8');
    const change = async (to: string): Promise<void> => {
      // The page has heard of what is in effect.
      while ((await file.inputValue()).includes('limit_messages')) await pause(50);
      const text = await file.inputValue();
      const [network = ''] = /\[\[network\]\]\nname = "customers"\n/.exec(text) ?? [];
      assert.notEqual(network, '');
      await file.fill(text.replace(network, `${network}${to}\n`));
      await page.click('button:has-text("Check")');
    };
    const tryFor = async (length: string): Promise<void> => {
      await page.fill('input[name=for]', length);
      await page.click('button:has-text("Apply")');
      await page.waitForSelector('text=is in effect until', { timeout: 60_000 });
    };
    const seen = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test((await send()).reply)) await pause(100);
    };
    await page.goto(`${address()}#/config`);
    await file.waitFor();
    await change('limit_messages = ["many/hour"]');
    await page.waitForSelector('table.errors td:has-text("limit_messages")');
    assert.ok(await page.locator('button:has-text("Apply")').isDisabled());
    await file.fill((await file.inputValue()).replace('limit_messages = ["many/hour"]\n', ''));
    await change('limit_messages = ["1/hour"]');
    await page.waitForSelector('pre.lines .come:has-text("limit_messages")', { timeout: 60_000 });
    await page.waitForSelector('table.predicted td:has-text("limit.messages")');
    await picture('config');
    await tryFor('1h');
    await seen(/^451 .*limit\.messages/);
    await page.click('button:has-text("Back now")');
    await page.waitForSelector('.trial', { state: 'detached', timeout: 60_000 });
    await seen(/^250 /);
    await change('limit_messages = ["1000/hour"]');
    await page.waitForSelector('pre.lines .come:has-text("limit_messages")', { timeout: 60_000 });
    await tryFor('1s');
    while (inFile().includes('limit_messages')) await pause(50);
    await page.waitForSelector('.trial', { state: 'detached', timeout: 60_000 });
    await change('limit_messages = ["1000/hour"]');
    await page.waitForSelector('pre.lines .come:has-text("limit_messages")', { timeout: 60_000 });
    await tryFor('1h');
    await page.click('button:has-text("Keep")');
    await page.waitForSelector('.trial', { state: 'detached', timeout: 60_000 });
    assert.match(inFile(), /limit_messages = \["1000\/hour"\]/);
  });

  test('what strangers type is text: no dialog, no request to anybody else, no node of theirs', async () => {
    for (const [i, mark] of ['<img src=//evil.example/x onerror=alert(1)>', '"><script>alert(2)</script>'].entries())
      await (i === 0
        ? send({ subject: mark, from: `${JSON.stringify(mark)}@customer.example` })
        : send({ helo: mark.replace(/[ ]/g, '/') }));
    await page.goto(`${address()}#/log`);
    await page.waitForSelector('table.log');
    assert.deepEqual(await strangeNodes(page), []);
    const refused = await page.evaluate('fetch("https://evil.example/").then(() => "went out", () => "refused")');
    assert.equal(refused, 'refused');
    assert.deepEqual(
      complaints.splice(0).filter((each) => !/evil\.example/.test(each) || /dialog|asked/.test(each)),
      [],
    );
  });

  test('Shows 2: 200 strings of markup, wherever a stranger can put one, on every page: text, and nothing else', async () => {
    assert.equal(markup.length, 200);
    const path = keeperSocket(join(lab.directory, 'run'));
    const life = new AbortController();
    const worker = createLedger(
      { path, worker: 9, workers: 9, keeperFailure: 'local', clock: systemClock, log: silentLog },
      life.signal,
    );
    closers.push(async () => life.abort());
    await worker.ready;
    for (const [i, text] of markup.entries()) worker.record(attemptOf(text, i));
    for (const [i, text] of markup.slice(0, 50).entries()) {
      const lock = { subject: `192.0.2.${i + 1}`, how: 'reject', reason: text, who: text, until: undefined } as const;
      await askKeeper(path, { of: 'lock', lock });
    }
    await worker.close();
    life.abort();
    const isWritten = async (): Promise<boolean> => {
      const answer = await askKeeper(path, { of: 'log', filter: { source: STRANGER, limit: 200 } });
      return (answer as LogAnswer).rows.length === 200;
    };
    while (!(await isWritten())) await pause(50);
    await page.addInitScript('window.hit = () => console.error("a script of theirs has run")');
    await page.goto('about:blank');
    let said = '';
    for (const path of [
      'log',
      'now',
      'config',
      'locks',
      'people',
      `senders/${STRANGER}`,
      ...SESSIONS.map((id) => `message/${id}`),
    ]) {
      await page.goto(`${address()}#/${path}`);
      await page.waitForSelector(
        path.startsWith('message') ? '.story:nth-of-type(100)' : path === 'config' ? 'textarea' : 'table tbody tr',
      );
      assert.deepEqual(await strangeNodes(page), [], path);
      said += await page.evaluate<string>('document.body.textContent');
    }
    for (const text of markup) assert.ok(said.includes(shown(text)), `${shown(text)} is shown`);
    // Typed into the address, as by a link that somebody is sent.
    await page.evaluate(
      `(async () => { for (const [i, text] of ${JSON.stringify(markup)}.entries()) {
        location.hash = ['#/log?q=', '#/senders/', '#/message/'][i % 3] + (i % 2 ? encodeURIComponent(text) : text);
        await new Promise((done) => setTimeout(done, 5));
      } })()`,
    );
    assert.deepEqual(await strangeNodes(page), []);
    // The browser itself says that what was asked for is not there.
    assert.deepEqual(
      complaints.splice(0).filter((each) => !/the server responded with a status of 4\d\d/.test(each)),
      [],
    );
    for (let i = 0; i < 50; i++) await askKeeper(path, { of: 'unlock', subject: `192.0.2.${i + 1}/32`, who: 'test' });
  });

  test('on a telephone nothing is wider than the screen, in the dark as well', async () => {
    const phone = await browser.newPage({
      viewport: { width: 390, height: 800 },
      colorScheme: 'dark',
      storageState: await page.context().storageState(),
    });
    for (const path of ['#/now', '#/log', '#/locks', '#/config', `#/senders/${HOST}`]) {
      await phone.goto(`${address()}${path}`);
      await phone.waitForSelector('h1');
      await phone.waitForSelector(path === '#/config' ? 'textarea' : 'table');
      const wide = await phone.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
    }
    await phone.close();
  });

  test('logged out, the page is the form again, and what was open shows nothing', async () => {
    await page.click('header button');
    await page.waitForSelector('input[name=password]');
    await page.goto(`${address()}#/people`);
    await page.waitForSelector('input[name=password]');
    assert.equal(await page.locator('table').count(), 0);
  });
});

const STRANGER = '198.51.100.66';
const SESSIONS = ['0000000000000001', '0000000000000002'] as const;

/** A refused message that says `text` wherever a host or a server can say something. */
function attemptOf(text: string, i: number): Attempt {
  return attempt({
    id: `00000000000M0${String(i).padStart(3, '0')}`,
    session: SESSIONS[i % 2] ?? '',
    at: Date.now() - i,
    source: STRANGER,
    helo: text,
    tls: { version: 'TLSv1.3', cipher: 'x', name: text },
    identity: text,
    sender: text,
    recipients: [{ recipient: text, code: 550, class: 'spam.gtube' }],
    verdict: 'reject',
    class: 'spam.gtube',
    reply: text,
    upstream: text,
    upstreamReply: `550 listed by ${text}`,
    findings: ['subject', 'file name', 'PTR'].map((name) => ({
      filter: text,
      name: text,
      score: 1,
      evidence: `${name} ${text}`,
    })),
  });
}

const KNOWN =
  'textarea pre html head meta title link script noscript body header nav main section article div span a p h1 h2 h3 ol ul li dl dt dd table thead tbody tr th td ' +
  'form label input select option button meter details summary strong q code canvas';

/** Elements that our pages do not make, attributes that are code, and addresses that lead elsewhere. */
function strangeNodes(page: Page): Promise<readonly string[]> {
  return page.evaluate(`[...document.querySelectorAll('*')].filter((one) =>
    !${JSON.stringify(KNOWN.split(' '))}.includes(one.localName) ||
    (one.localName === 'script' && one.type !== 'importmap' && one.getAttribute('src') !== '/assets/app.ts') ||
    [...one.attributes].some(({ name, value }) => name.startsWith('on') ||
      (['href', 'src', 'action', 'formaction', 'srcset', 'ping'].includes(name) && !/^(?:#|\\/(?![/\\\\])|data:,)/.test(value)))
  ).map((one) => one.outerHTML.slice(0, 200))`);
}
