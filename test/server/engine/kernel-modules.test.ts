import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ENGINE_FOLDERS, ENGINE_MODULES, moduleName, parseModulesDep, selectModules } from '../../../server/engine/kernel-modules.ts';

const DEP = parseModulesDep(
  [
    'kernel/drivers/net/ethernet/intel/e1000/e1000.ko:',
    'kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz',
    'kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz',
    'kernel/net/core/failover.ko.xz:',
    'kernel/drivers/gpu/drm/i915/i915.ko: kernel/drivers/gpu/drm/drm.ko',
    'kernel/drivers/gpu/drm/drm.ko:',
    'kernel/sound/core/snd.ko:',
    'kernel/drivers/net/wireless/ath/ath.ko:',
    'kernel/drivers/scsi/scsi_debug.ko: kernel/drivers/scsi/scsi_mod.ko',
    'kernel/drivers/scsi/scsi_mod.ko:',
    'kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko',
    'kernel/lib/crc16.ko:',
    '',
  ].join('\n'),
);

describe('the choice of kernel modules', () => {
  it('takes wired network, storage and file systems with everything they depend on, and nothing else', () => {
    assert.deepEqual(selectModules(DEP, ENGINE_FOLDERS, ENGINE_MODULES), [
      'kernel/drivers/net/ethernet/intel/e1000/e1000.ko',
      'kernel/drivers/net/net_failover.ko.xz',
      'kernel/drivers/net/virtio_net.ko.xz',
      'kernel/drivers/scsi/scsi_mod.ko',
      'kernel/fs/ext4/ext4.ko',
      'kernel/lib/crc16.ko',
      'kernel/net/core/failover.ko.xz',
    ]);
  });

  it('names a module as modprobe does, whatever its file is compressed with', () => {
    assert.equal(moduleName('kernel/arch/x86/crypto/crc32c-intel.ko.xz'), 'crc32c_intel');
    assert.equal(moduleName('kernel/fs/ext4/ext4.ko'), 'ext4');
  });
});
