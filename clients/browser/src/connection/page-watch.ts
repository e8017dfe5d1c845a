// Listens to what a browser does with the page: shows it again, thaws it, puts it into the back/forward cache.
// Guarantees: `stop` removes every listener; where there is no page (Node, a worker), nothing ever happens.

export interface PageChanges {
  /** Somebody looks at it again, or it runs again after it was frozen: what was open may be dead. */
  readonly onSeen: () => void;
  /** It is being left, for good or for a while. */
  readonly onHide: () => void;
  /** It goes into the back/forward cache: nothing of it will run until `onTakenOut`, which may never come. */
  readonly onShelved: () => void;
  readonly onTakenOut: () => void;
}

/** The part of a browser's window and document that is used. */
interface EventSource {
  addEventListener(type: string, listener: (event: unknown) => void): void;
  removeEventListener(type: string, listener: (event: unknown) => void): void;
}

type Watched = readonly [source: EventSource, type: string, listener: (event: unknown) => void];

export class PageWatch {
  readonly #watched: readonly Watched[];

  constructor({ onSeen, onHide, onShelved, onTakenOut }: PageChanges) {
    if (typeof document === "undefined" || typeof window === "undefined") {
      this.#watched = [];
      return;
    }
    this.#watched = [
      [
        document,
        "visibilitychange",
        () => {
          if (document.visibilityState === "visible") onSeen();
        },
      ],
      // After `freeze`: a browser stops the tabs that nobody has looked at for minutes.
      [document, "resume", onSeen],
      [
        window,
        "pagehide",
        (event) => {
          onHide();
          if (isPersisted(event)) onShelved();
        },
      ],
      [window, "pageshow", (event) => (isPersisted(event) ? onTakenOut() : onSeen())],
    ];
  }

  start(): void {
    for (const [source, type, listener] of this.#watched) source.addEventListener(type, listener);
  }

  stop(): void {
    for (const [source, type, listener] of this.#watched) source.removeEventListener(type, listener);
  }
}

function isPersisted(event: unknown): boolean {
  return (event as { readonly persisted?: unknown }).persisted === true;
}
