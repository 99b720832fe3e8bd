// The sockets of one push service, kept in hand. The HTTP client lets go of a connection that was told to GOAWAY and
// leaves its end to the service; one that means harm never ends it, and each message would leave another socket open.

import type { Socket } from 'node:net';
import { buildConnector } from 'undici';

export interface BoundedSockets {
  readonly connect: buildConnector.connector;
  /** Nothing of them is left after that, whatever the other side does. */
  destroy(): void;
}

/** @param most when one more is opened, the oldest is destroyed */
export function boundedSockets(options: buildConnector.BuildOptions, most: number): BoundedSockets {
  const open = new Set<Socket>();
  const connect = buildConnector(options);
  let destroyed = false;

  function keep(socket: Socket): void {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const [oldest] = open;
    if (open.size > most) oldest?.destroy();
  }

  return {
    connect(target, callback): void {
      connect(target, (...result) => {
        const [error, socket] = result;
        if (error === null && destroyed) socket.destroy();
        else if (error === null) keep(socket);
        callback(...result);
      });
    },
    destroy(): void {
      destroyed = true;
      for (const socket of open) socket.destroy();
    },
  };
}
