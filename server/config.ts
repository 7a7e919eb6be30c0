import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { readEnvironment } from './config/environment.ts';
import { explainIssue } from './config/explain.ts';
import { type Config, ConfigSchema } from './config/schema.ts';
import { openCron } from './schedule/cron.ts';

export type { Config, DatabaseSetting } from './config/schema.ts';

/** Settings as flags give them: only what the operator typed. `undefined` members count as not given. */
export type ConfigFlags = { readonly [Key in keyof Config]?: Config[Key] | undefined };

export const CONFIG_FILE = 'waystation.yaml';

/**
 * Reads DIR/waystation.yaml, the environment and flags into one checked, frozen value: flag over
 * environment over file over default. A missing file is an empty one.
 *
 * Errors: `config` names the file or variable and the key that is unknown or wrong.
 */
export async function loadConfig(source: {
  readonly dataDir: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly flags?: ConfigFlags;
}): Promise<Config> {
  const path = join(source.dataDir, CONFIG_FILE);
  const fromFile = parseSettings(await readSettings(path), path);
  const fromEnvironment = readEnvironment(source.env ?? process.env);
  return buildConfig([fromFile, fromEnvironment, definedOnly(source.flags ?? {})]);
}

/** Layers of settings, the later over the earlier, checked as a whole. `advertise` is merged member by member. */
export function buildConfig(layers: readonly Readonly<Record<string, unknown>>[]): Config {
  const merged: Record<string, unknown> = {};
  for (const layer of layers) {
    const advertise = layer.advertise === undefined ? merged.advertise : Object.assign({}, merged.advertise, layer.advertise);
    Object.assign(merged, layer, advertise === undefined ? {} : { advertise });
  }
  const result = ConfigSchema.safeParse(merged);
  if (!result.success) throw configError(result.error, 'the configuration');
  checkSchedules(result.data);
  return deepFreeze(result.data);
}

/** A server must not start and then find out at night that nothing is ever due. */
function checkSchedules(config: Config): void {
  for (const key of ['scrubSchedule', 'gcSchedule'] as const) {
    try {
      if (config[key] !== 'off') openCron({ schedule: config[key], timezone: config.maintenanceTimezone }).next(Date.now());
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      throw new AppError('config', `${key} (in maintenanceTimezone): ${error.message}`, { hint: error.hint ?? 'or "off"', cause: error });
    }
  }
}

async function readSettings(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new AppError('config', `cannot read ${path}`, { hint: 'run as the user that owns the data directory', cause: error });
  }
}

function parseSettings(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    throw new AppError('config', `${path} is not YAML: ${(error as Error).message.split('\n')[0]}`, {
      hint: 'correct that line',
      cause: error,
    });
  }
  const result = ConfigSchema.partial().safeParse(value ?? {});
  if (!result.success) throw configError(result.error, path);
  return definedOnly(value as Record<string, unknown> | null);
}

function configError(error: z.ZodError, where: string): AppError {
  const { message, hint } = explainIssue(error, where);
  return new AppError('config', message, { hint, cause: error });
}

function definedOnly(values: Readonly<Record<string, unknown>> | null): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([, value]) => value !== undefined));
}

function deepFreeze<Value>(value: Value): Value {
  if (value !== null && typeof value === 'object') {
    for (const member of Object.values(value)) deepFreeze(member);
    Object.freeze(value);
  }
  return value;
}
