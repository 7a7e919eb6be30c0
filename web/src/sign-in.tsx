import { type FormEvent, useState } from 'react';
import { asRefusal, type Refusal } from './api/ask.ts';
import { type Session, signIn } from './api/session.ts';
import { Alert } from './kit/alert.tsx';
import { Button } from './kit/button.tsx';

type Props = { readonly words: string | undefined; readonly onSignedIn: (session: Session) => void };

/** The token is shown to the server once; the page keeps nothing of it. */
export function SignIn({ words, onSignedIn }: Props) {
  const [token, setToken] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setRefusal(undefined);
    try {
      const session = await signIn(token.trim());
      setToken('');
      onSignedIn(session);
    } catch (error) {
      setRefusal(asRefusal(error));
      setBusy(false);
    }
  };

  return (
    <div className="ws-sign-in">
      <div className="ws-sign-in__card">
        <main>
          <div>
            <h1 className="pf-v6-c-title pf-m-3xl">Waystation</h1>
            <p>Sign in with an operator token of this server.</p>
          </div>
          <div>
            <form className="pf-v6-c-form" onSubmit={submit}>
              <div aria-live="polite" className="ws-notes">
                {words !== undefined && refusal === undefined && <Alert kind="info" title={words} />}
                {refusal !== undefined && (
                  <Alert kind="danger" title={refusal.message}>
                    {refusal.hint}
                  </Alert>
                )}
              </div>
              <div className="pf-v6-c-form__group">
                <div className="pf-v6-c-form__group-label">
                  <label className="pf-v6-c-form__label" htmlFor="token">
                    <span className="pf-v6-c-form__label-text">Operator token</span>
                  </label>
                </div>
                <div className="pf-v6-c-form__group-control">
                  <span className="pf-v6-c-form-control">
                    <input
                      id="token"
                      type="password"
                      autoComplete="off"
                      spellCheck={false}
                      required
                      value={token}
                      onChange={(event) => setToken(event.target.value)}
                    />
                  </span>
                </div>
              </div>
              <p className="ws-hint">
                “waystation init” printed the first one; “waystation token create” makes others. The browser stays signed in for eight hours
                at most, and not longer than the token counts.
              </p>
              <Button kind="primary" type="submit" isWide isBusy={isBusy}>
                Sign in
              </Button>
            </form>
          </div>
        </main>
      </div>
    </div>
  );
}
