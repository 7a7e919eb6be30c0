import type { Mac } from '../../core/ids.ts';
import { OPTION } from '../../server/dhcp/options.ts';
import { type DhcpPacket, encodeDhcp, MESSAGE } from '../../server/dhcp/packet.ts';

export type Asked = {
  readonly message?: number;
  readonly mac?: string;
  readonly arch?: number;
  readonly vendorClass?: string | undefined;
  readonly ciaddr?: string;
  readonly giaddr?: string;
  readonly hops?: number;
  readonly options?: readonly (readonly [number, Buffer])[];
};

/** What a PXE ROM sends (PXE 2.1 table 2-1): DHCPDISCOVER of a BIOS machine unless told otherwise. */
export function pxeRequest(asked: Asked = {}): DhcpPacket {
  const arch = Buffer.alloc(2);
  arch.writeUInt16BE(asked.arch ?? 0);
  const vendorClass = 'vendorClass' in asked ? asked.vendorClass : 'PXEClient:Arch:00000:UNDI:002001';
  return {
    op: 'request',
    hops: asked.hops ?? 0,
    xid: 0x12345678,
    secs: 4,
    flags: 0x8000,
    ciaddr: asked.ciaddr ?? '0.0.0.0',
    yiaddr: '0.0.0.0',
    siaddr: '0.0.0.0',
    giaddr: asked.giaddr ?? '0.0.0.0',
    mac: (asked.mac ?? '52:54:00:aa:bb:01') as Mac,
    serverName: '',
    file: '',
    options: new Map<number, Buffer>([
      [OPTION.messageType, Buffer.from([asked.message ?? MESSAGE.discover])],
      [OPTION.parameters, Buffer.from([1, 3, 43, 60, 66, 67, 128, 129])],
      ...(vendorClass === undefined ? [] : ([[OPTION.vendorClass, Buffer.from(vendorClass)]] as const)),
      [OPTION.clientArch, arch],
      [OPTION.clientInterface, Buffer.from([1, 2, 1])],
      [OPTION.clientUuid, Buffer.concat([Buffer.from([0]), Buffer.alloc(16, 7)])],
      ...(asked.options ?? []),
    ]),
  };
}

export function pxeBytes(asked: Asked = {}): Buffer {
  return encodeDhcp(pxeRequest(asked));
}
