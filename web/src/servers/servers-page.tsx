type Props = { readonly role: string; readonly onSignedOut: (words?: string) => void };

export function ServersPage({ role }: Props) {
  return <h1 className="pf-v6-c-title pf-m-2xl">Servers ({role})</h1>;
}
