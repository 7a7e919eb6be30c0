import { AppError } from '../../core/errors.ts';
import type { Arch } from '../../core/image.ts';
import { policyOf } from '../control/policies.ts';
import { findNewestEngine } from '../db/engines.ts';
import { findActiveOrder, hasActiveOrder } from '../db/orders.ts';
import { hasOrders } from '../db/targets.ts';
import type { Site } from '../site.ts';
import { createBoot, noteTarget, seeTarget, type Target } from '../targets.ts';
import type { Machine } from './machine.ts';
import { readMenu, scriptOf, usableLines } from './menu.ts';
import { diskScript, engineScript, menuScript } from './script.ts';
import { targetUrls } from './urls.ts';

/**
 * Says what a machine boots, from its work at this moment:
 *
 *   an order whose disk is not written yet   the engine, also when it asks again in the middle (it resumes)
 *   an order whose disk is written           its disk: a second deployment must never follow from a reboot
 *   unknown to the operators                 the engine, its disk or the menu, as `unknownTargets` says; it is written down
 *   no order                                 its disk or the menu, as `idleTargets` says
 *
 * A machine that says nothing about itself boots its disk: there is nobody to make an order for.
 * `choice` is the menu entry that somebody chose; where no menu is shown it is nothing.
 */
export async function bootScriptFor(site: Site, machine: Machine, origin: string, choice?: string): Promise<string> {
  const target = await meet(site, machine);
  if (target === undefined) return diskScript(machine.firmware, 'this machine shows no MAC address, UUID or serial number');
  switch (await placeFor(site, target)) {
    case 'engine':
      return engineFor(site, target, machine, origin);
    case 'disk':
      return diskFor(site, target, machine);
    case 'menu':
      return menuFor(site, { target, machine, origin, choice });
  }
}

async function meet(site: Site, machine: Machine): Promise<Target | undefined> {
  const { uuid, serial, macs, arch, firmware } = machine;
  try {
    return await seeTarget(site, { uuid, serial, macs, arch, firmware, environment: 'firmware', discoveredBy: 'boot' });
  } catch (error) {
    if (error instanceof AppError && error.code === 'bad_data') return undefined;
    throw error;
  }
}

async function placeFor(site: Site, target: Target): Promise<'engine' | 'disk' | 'menu'> {
  if (await hasActiveOrder(site.db, target.id)) return 'engine';
  if ((await findActiveOrder(site.db, target.id)) !== undefined) return 'disk';
  return (await isUnknown(site, target)) ? policyOf(site, 'unknownTargets') : policyOf(site, 'idleTargets');
}

/** Nobody named it, wrote it down or made an order for it. */
async function isUnknown(site: Site, target: Target): Promise<boolean> {
  return target.name === null && target.discoveredBy !== 'operator' && !(await hasOrders(site.db, target.id));
}

async function engineFor(site: Site, target: Target, machine: Machine, origin: string): Promise<string> {
  const engine = await findNewestEngine(site.db, machine.arch);
  if (engine === undefined) return diskFor(site, target, machine, withoutEngine(machine.arch));
  const bootId = await createBoot(site, target.id, 'engine');
  await noteTarget(site, target.id, { environment: 'firmware', activity: 'starting the engine' });
  site.log.info('boot script', {
    targetId: target.id,
    mac: machine.macs[0],
    what: 'engine',
    bootId,
    engine: `${engine.name}@${engine.version}`,
  });
  const { http, https } = targetUrls(site, origin);
  const mac = machine.macs[0];
  return engineScript({
    arch: machine.arch,
    manifest: engine.manifest,
    httpUrl: http,
    httpsUrl: https,
    caPin: site.keys.caPin,
    bootId,
    mac,
  });
}

type Visit = { readonly target: Target; readonly machine: Machine; readonly origin: string; readonly choice: string | undefined };

/** The menu, or what was chosen from it. Without an entry that can be booted there is nothing to choose. */
async function menuFor(site: Site, { target, machine, origin, choice }: Visit): Promise<string> {
  const urls = targetUrls(site, origin);
  const menu = await readMenu(site, machine, urls);
  const chosen = choice === undefined ? undefined : menu.entries.find(({ name }) => name === choice);
  if (chosen !== undefined) {
    const { boot } = chosen.content;
    if (boot.kind === 'disk') return diskFor(site, target, machine);
    if (boot.kind === 'engine') return engineFor(site, target, machine, origin);
    const script = scriptOf(menu, chosen, boot, urls.http);
    await note(site, { target, machine, what: 'menu entry', activity: `starting ${chosen.name}`.slice(0, 64) });
    return script;
  }
  const lines = usableLines(site, menu);
  if (lines.length === 0) return diskFor(site, target, machine);
  await note(site, { target, machine, what: 'menu', activity: 'showing the boot menu' });
  return menuScript(lines, { firmware: machine.firmware, seconds: site.config.menuSeconds });
}

async function note(site: Site, seen: { target: Target; machine: Machine; what: string; activity: string }): Promise<void> {
  const { target, machine, what, activity } = seen;
  await noteTarget(site, target.id, { environment: 'firmware', activity });
  site.log.info('boot script', { targetId: target.id, mac: machine.macs[0], what, activity });
}

async function diskFor(site: Site, target: Target, machine: Machine, why?: string): Promise<string> {
  const bootId = await createBoot(site, target.id, 'disk');
  await noteTarget(site, target.id, {
    environment: 'disk',
    activity: why === undefined ? 'booting its disk' : 'no engine here; booting its disk',
  });
  const level = why === undefined ? 'info' : 'warn';
  site.log.log(level, 'boot script', { targetId: target.id, mac: machine.macs[0], what: 'disk', bootId, ...(why ? { why } : {}) });
  return diskScript(machine.firmware, why);
}

function withoutEngine(arch: Arch): string {
  return `this server holds no engine for ${arch} (make one: waystation engine build)`;
}
