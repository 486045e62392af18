import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listNamedIn, receiverOf } from '../../../src/policy/receivers.ts';

test('a receiver is known by the domain of a recipient', () => {
  for (const [domain, receiver] of [
    ['gmail.com', 'google'],
    ['GoogleMail.com', 'google'],
    ['hotmail.co.uk', 'microsoft'],
    ['yahoo.de', 'yahoo'],
    ['gmx.net', 'ionos'],
    ['notgmail.com', 'others'],
    ['gmail.com.example', 'others'],
    ['me.com', 'apple'],
    ['example.org', 'others'],
    ['', 'others'],
  ] as const)
    assert.equal(receiverOf(domain), receiver, domain);
});

test('replies that name a block list, as receivers write them, and replies that name none', () => {
  for (const [reply, list] of [
    ['550 5.7.1 Service unavailable; client [198.51.100.7] blocked using zen.spamhaus.org', 'spamhaus'],
    ['554 5.7.1 Listed by PBL, see https://www.spamhaus.org/query/ip/198.51.100.7', 'spamhaus'],
    ['554 Service unavailable; Client host [198.51.100.7] blocked using bl.spamcop.net', 'spamcop'],
    ['550 permanent failure for one or more recipients (bob@example.org:blocked) b.barracudacentral.org', 'barracuda'],
    [
      "550 5.7.1 Unfortunately, messages from [198.51.100.7] weren't sent. part of their network is on our block list (S3150)",
      'microsoft',
    ],
    ['421 4.7.0 IP listed at dnsbl-1.uceprotect.net', 'uceprotect'],
    ['550 5.7.1 your address is on our blacklist', 'unnamed'],
    ['450 4.7.1 rejected: RBL', 'unnamed'],
    ['250 2.0.0 Ok: queued, not listed in any DNSBL', undefined],
    ['550 5.1.1 No such user', undefined],
    ['550 5.7.1 the message looks like spam', undefined],
    ['452 4.2.2 mailbox full', undefined],
    ['blocked using zen.spamhaus.org', undefined],
  ] as const)
    assert.equal(listNamedIn(reply), list, reply);
});
