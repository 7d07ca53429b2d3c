// Whether the options of the admin port go together: nobody may reach it who was not meant to, unless the configuration says so in so many words.
import { isLoopback } from './auth.ts';
import type { RawConfig } from './schema.ts';

export function judgeAdmin({ admin, server, listener }: RawConfig, say: (key: string, message: string) => void): void {
  const { port, host, cert_file, key_file, token_file, open, socket } = admin;
  const local = isLoopback(host);
  if (cert_file !== '' && key_file === '') say('cert_file', 'admin.cert_file needs admin.key_file');
  if (key_file !== '' && cert_file === '') say('key_file', 'admin.key_file needs admin.cert_file');
  if (open && token_file !== '') say('open', 'admin.open = true and admin.token_file contradict each other; keep one');
  if (open && !local) say('open', `admin.open = true is for loopback only, and admin.host is ${host}; give admin.token_file`);
  if (socket !== '' && server.data_dir !== '')
    say('socket', 'admin.socket is for a broker without server.data_dir: the socket lethe.sock in the data directory serves');
  if (port === undefined) return;
  if (!local && cert_file === '')
    say('host', 'admin.host is beyond loopback: that needs TLS (admin.cert_file, admin.key_file) and admin.token_file');
  if (token_file === '' && !(open && local)) {
    const way = local ? 'admin.token_file, or in so many words admin.open = true' : 'admin.token_file';
    say('port', `admin.port needs ${way}`);
  }
  const same = listener.find((own) => own.port === port && own.host === host);
  if (port !== 0 && same !== undefined) say('port', `admin.port has the address of listener '${same.name}'`);
}
