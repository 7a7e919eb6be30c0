import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { ConfigSchema } from './schema.ts';

/** Variables that begin like configuration and are not: they belong to the command line, or are secrets. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'WAYSTATION_URL',
  'WAYSTATION_TOKEN',
  'WAYSTATION_DATA',
  'WAYSTATION_CACHE',
  'WAYSTATION_ENROL_TOKEN',
  'WAYSTATION_DATABASE_PASSWORD',
  'WAYSTATION_CA_PIN',
  'WAYSTATION_DATASOURCES',
]);

const ADVERTISE = ['http', 'https', 'tftp'] as const;
/** Settings whose schema is a number: their variables are read as one. */
const NUMBERS: ReadonlySet<string> = new Set(
  Object.entries(ConfigSchema.shape)
    .filter(([, schema]) => schema.unwrap() instanceof z.ZodNumber)
    .map(([key]) => key),
);

/**
 * Settings from WAYSTATION_* variables (`httpPort` is WAYSTATION_HTTP_PORT, `advertise.http` is
 * WAYSTATION_ADVERTISE_HTTP, lists are separated by commas). Empty variables count as not set.
 * Throws `config` for a variable that names no setting.
 */
export function readEnvironment(env: NodeJS.ProcessEnv): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith('WAYSTATION_') || NOT_CONFIGURATION.has(variable) || text === undefined || text === '') continue;
    const key = keyOf(variable);
    const part = ADVERTISE.find((name) => variable === `WAYSTATION_ADVERTISE_${name.toUpperCase()}`);
    if (part !== undefined) settings.advertise = { ...(settings.advertise as object | undefined), [part]: text };
    else if (key in ConfigSchema.shape && key !== 'advertise') settings[key] = parseValue(variable, key, text);
    else throw unknownVariable(variable);
  }
  return settings;
}

function keyOf(variable: string): string {
  return variable
    .slice('WAYSTATION_'.length)
    .toLowerCase()
    .replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

function parseValue(variable: string, key: string, text: string): unknown {
  if (key === 'interfaces') return text.split(',').map((name) => name.trim());
  if (!NUMBERS.has(key)) return text;
  if (!/^\d{1,15}$/.test(text)) {
    throw new AppError('config', `${variable} must be a whole number`, { hint: `correct or unset ${variable}` });
  }
  return Number(text);
}

function unknownVariable(variable: string): AppError {
  return new AppError('config', `unknown configuration key ${variable} in the environment`, {
    hint: `unset ${variable}; docs/examples/waystation.yaml shows the settings`,
  });
}
