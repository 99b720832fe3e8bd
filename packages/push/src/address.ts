// Which addresses an endpoint may lead to. Endpoints come from strangers: whoever can name one must not be able to make
// us knock at doors inside our own network.

import { BlockList, isIP } from 'node:net';

/** Not reachable from the internet, or not one host: the registries of special addresses (RFC 6890 and its successors). */
const FORBIDDEN_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Also the metadata services of the clouds.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const;

/** Inside 2000::/3, which is all that is handed out. */
const FORBIDDEN_V6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  // 6to4 carries an IPv4 address that nothing here would look at.
  ['2002::', 16],
  ['3fff::', 20],
] as const;

const forbidden = new BlockList();
for (const [network, bits] of FORBIDDEN_V4) forbidden.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of FORBIDDEN_V6) forbidden.addSubnet(network, bits, 'ipv6');

const global = new BlockList();
global.addSubnet('2000::', 3, 'ipv6');

/** NAT64: how a network of IPv6 alone reaches IPv4, whose address is the last four bytes. */
const translated = new BlockList();
translated.addSubnet('64:ff9b::', 96, 'ipv6');

/** Whether the address is one of the public internet. What is no address is not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !forbidden.check(address, 'ipv4');
  if (family !== 6 || address.includes('%')) return false;
  if (translated.check(address, 'ipv6')) return isPublicAddress(lastFourBytes(address));
  return global.check(address, 'ipv6') && !forbidden.check(address, 'ipv6');
}

function lastFourBytes(address: string): string {
  // The URL parser writes every form of an IPv6 address as hexadecimal groups.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [high = '0', low = '0'] = canonical.split(':').slice(-2);
  const groups = [high, low].map((group) => Number.parseInt(group === '' ? '0' : group, 16));
  return groups.flatMap((group) => [group >> 8, group & 255]).join('.');
}
