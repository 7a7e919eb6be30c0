import { ask, Refusal } from './ask.ts';

export type Session = { readonly name: string; readonly role: string; readonly server: string; readonly expiresAt: string | null };

/** Who is signed in; undefined when nobody is. */
export async function getSession(): Promise<Session | undefined> {
  try {
    return await ask<Session>('/api/v1/session');
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return undefined;
    throw error;
  }
}

export function signIn(token: string): Promise<Session> {
  return ask<Session>('/api/v1/session', { method: 'POST', json: { token } });
}

export function signOut(): Promise<void> {
  return ask<void>('/api/v1/session', { method: 'DELETE' });
}
