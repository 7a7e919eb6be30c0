import { useCallback, useEffect, useState } from 'react';
import { asRefusal, type Refusal } from './api/ask.ts';
import { getSession, type Session } from './api/session.ts';
import { Alert } from './kit/alert.tsx';
import { Button } from './kit/button.tsx';
import { Waiting } from './kit/waiting.tsx';
import { ServersPage } from './servers/servers-page.tsx';
import { Shell } from './shell.tsx';
import { SignIn } from './sign-in.tsx';

type State =
  | { readonly is: 'looking' }
  | { readonly is: 'failed'; readonly why: Refusal }
  | { readonly is: 'out'; readonly words: string | undefined }
  | { readonly is: 'in'; readonly session: Session };

/** Who is signed in decides what is shown. */
export function App() {
  const [state, setState] = useState<State>({ is: 'looking' });
  const look = useCallback(() => {
    setState({ is: 'looking' });
    getSession().then(
      (session) => setState(session === undefined ? { is: 'out', words: undefined } : { is: 'in', session }),
      (error: unknown) => setState({ is: 'failed', why: asRefusal(error) }),
    );
  }, []);
  useEffect(look, [look]);
  const onSignedOut = useCallback((words?: string) => setState({ is: 'out', words }), []);

  switch (state.is) {
    case 'looking':
      return <Waiting words="Asking the server" />;
    case 'failed':
      return (
        <main className="ws-alone">
          <Alert kind="danger" title={state.why.message}>
            {state.why.hint}
          </Alert>
          <Button kind="primary" onClick={look}>
            Try again
          </Button>
        </main>
      );
    case 'out':
      return <SignIn words={state.words} onSignedIn={(session) => setState({ is: 'in', session })} />;
    case 'in':
      return (
        <Shell session={state.session} onSignedOut={onSignedOut}>
          <ServersPage onSignedOut={onSignedOut} />
        </Shell>
      );
  }
}
