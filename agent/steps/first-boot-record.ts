import { FIRST_BOOT_MAGIC, FIRST_BOOT_RECORD_BYTES } from '../../core/agent-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { OpenDisk } from './disk.ts';

/** What the first-boot service needs to call home (core/agent-protocol.ts has the layout). */
export type FirstBootFacts = { readonly url: string; readonly ca: string; readonly orderId: string; readonly nonce: string };

/** The record's octets. Throws `bad_data` when the facts do not fit it. */
function encodeFirstBootRecord(facts: FirstBootFacts): Buffer {
  const { url, ca, orderId, nonce } = facts;
  const text = Buffer.from(`${FIRST_BOOT_MAGIC}${JSON.stringify({ url, ca, orderId, nonce })}\n`);
  if (text.length > FIRST_BOOT_RECORD_BYTES) throw new AppError('bad_data', `the first-boot record would have ${text.length} bytes`);
  const record = Buffer.alloc(FIRST_BOOT_RECORD_BYTES);
  text.copy(record);
  return record;
}

/** Takes away an earlier record, and with it what an old GPT kept at the end of the disk. */
export async function clearFirstBootRecord(disk: OpenDisk): Promise<void> {
  await disk.write(disk.sizeBytes - FIRST_BOOT_RECORD_BYTES, Buffer.alloc(FIRST_BOOT_RECORD_BYTES));
}

export async function writeFirstBootRecord(disk: OpenDisk, facts: FirstBootFacts): Promise<void> {
  await disk.write(disk.sizeBytes - FIRST_BOOT_RECORD_BYTES, encodeFirstBootRecord(facts));
  await disk.sync();
}
