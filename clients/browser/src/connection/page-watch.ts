// Listens to what the browser does with the page: shows it, thaws it, puts it into the back/forward cache.
// Guarantees: `stop` removes every listener; without a page (Node, a worker) nothing ever happens.

export interface PageChanges {
  /** The page is visible again, or no longer frozen. The open socket may be dead. */
  readonly onSeen: () => void;
  /** The page is being left, for good or for a while, or is hidden: it may be ended without another word. */
  readonly onHide: () => void;
  /** The page enters the back/forward cache. Nothing runs until `onTakenOut`, which may never come. */
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
          else onHide();
        },
      ],
      // After `freeze`: browsers freeze tabs that have been hidden for minutes.
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
