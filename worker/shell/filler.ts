// What stands in an answer where an upstream's URL or id stood.

import type { Slot, Target } from "./core.ts";
import { SlotKind } from "./core.ts";
import { replicateBase } from "./env.ts";
import { apiRest, isReplicate, isSameOrigin, parsed } from "./links.ts";
import type { Address } from "./links.ts";
import type { Passage } from "./passage.ts";
import { seal, unseal } from "./seal.ts";
import type { Context, Purpose } from "./seal.ts";

/** How long what is sealed into answers can be brought back, in seconds: far longer than Replicate keeps its data. */
const validS = 7 * 24 * 3600;

const ofPrediction = /^\/predictions\/([^/?#~]+)(\/cancel)?(?:[?#]|$)/;
const ownWebhook = "/_perch/webhook/";

/** What an answer is about, as far as it is known. */
export interface Subject {
  asked: string; // URL that gave the answer
  context?: Context; // whose prediction it is
  sealed?: string; // the seal by which the client asked
  target?: Target; // who answered
}

export class Filler {
  #id = ""; // of the prediction at hand
  #get?: Address; // where it is, if a model server says so
  #seals = new Map<string, Promise<string | undefined>>();
  readonly #base: string;
  readonly #p: Passage;
  readonly #about: Subject;

  constructor(p: Passage, about: Subject) {
    this.#p = p;
    this.#about = about;
    this.#base = replicateBase(p.env);
    this.#id = about.context?.i ?? "";
  }

  /** Looks ahead at the slots of a whole answer: the id may stand before the URL that it needs. */
  prepare(slots: Slot[]): void {
    if (!this.#about.target?.url) return;
    for (const { kind, value } of slots) if (kind === SlotKind.get) this.#get ??= this.#own(parsed(value));
  }

  /** What to put into a slot; null is JSON's. */
  async fill({ kind, value }: Slot): Promise<string | null> {
    switch (kind) {
      case SlotKind.id:
        this.#id = value;
        return this.#sealedID(value);
      case SlotKind.get:
        return this.#link(value, "");
      case SlotKind.cancel:
        return this.#link(value, "POST");
      case SlotKind.stream:
        return this.#stream(value);
      case SlotKind.page:
        return this.#page(value);
      case SlotKind.webhook:
        return this.#webhook(value);
    }
    return value;
  }

  /** Where a Location header leads. */
  async location(text: string, status: number): Promise<string> {
    const url = parsed(text, this.#about.asked);
    if (url === undefined) return text;
    const rest = apiRest(url, this.#base);
    const method = status === 307 || status === 308 ? this.#p.request.method : "";
    if (this.#own(url)) return (await this.#at("at", url, method)) ?? text;
    return rest === undefined ? text : this.#here("/v1" + rest);
  }

  #here = (path: string) => this.#p.url.origin + path;

  /** The URL, if it is on the host of the model server that answered. */
  #own(url: Address | undefined): Address | undefined {
    const { target } = this.#about;
    return url && target?.url && isSameOrigin(url, target.url) ? url : undefined;
  }

  /**
   * An id by which only its maker can ask where the token is Perch's own, and by
   * which a model server's predictions are found at all.
   */
  async #sealedID(id: string): Promise<string> {
    if (!this.#p.entry.held && !this.#about.target?.url) return id;
    const sealed = await this.#sealed(id);
    return sealed === undefined ? id : `${id}~${sealed}`;
  }

  /** urls.get and urls.cancel. */
  async #link(text: string, method: string): Promise<string> {
    const url = parsed(text);
    if (url === undefined) return text;
    if (this.#own(url)) return (await this.#at("at", url, method)) ?? text;
    const rest = apiRest(url, this.#base);
    if (rest === undefined) return text;
    const id = ofPrediction.exec(rest)?.[1];
    if (id !== undefined) this.#id = id;
    const sealed = id === undefined ? undefined : await this.#sealed(id);
    if (sealed === undefined) return this.#here("/v1" + rest);
    return this.#here(`/v1${rest}${rest.includes("?") ? "&" : "?"}perch=${sealed}`);
  }

  async #stream(text: string): Promise<string> {
    const url = parsed(text);
    if (url === undefined || !(isReplicate(url, this.#base) || this.#own(url))) return text;
    return (await this.#at("stream", url, "")) ?? text;
  }

  #page(text: string): string {
    const url = parsed(text);
    const rest = url && apiRest(url, this.#base);
    return rest === undefined ? text : this.#here("/v1" + rest);
  }

  /** The client's own webhook, where Perch put its own in its place. */
  async #webhook(text: string): Promise<string | null> {
    const at = text.indexOf(ownWebhook);
    if (at < 0) return text;
    try {
      const { h } = await unseal(this.#p.env, text.slice(at + ownWebhook.length), "webhook", 0);
      return h || null;
    } catch {
      return text; // another worker's
    }
  }

  /** The seal of a prediction whose maker is known. That by which the client asked is kept: its id must stay the same. */
  #sealed(id: string): Promise<string | undefined> {
    const { context, sealed } = this.#about;
    if (context === undefined) return Promise.resolve(undefined);
    if (sealed !== undefined && context.i === id) return Promise.resolve(sealed);
    let made = this.#seals.get(id);
    if (made === undefined) {
      made = this.#seal("prediction", { i: id, l: this.#home(id) });
      this.#seals.set(id, made);
    }
    return made;
  }

  /** Where a model server's prediction is asked for; "" for one of Replicate's. */
  #home(id: string): string {
    if (!this.#about.target?.url) return "";
    if (this.#get) return this.#get.href;
    const url = new URL(this.#about.asked);
    const path = url.pathname.replace(/\/$/, "");
    const home = `/${encodeURIComponent(id)}`;
    if (path.endsWith(home)) return url.origin + path + url.search;
    if (path.endsWith(`${home}/cancel`)) return url.origin + path.slice(0, -"/cancel".length) + url.search;
    return url.origin + path + home;
  }

  async #at(purpose: Purpose, url: Address, method: string): Promise<string | undefined> {
    const sealed = await this.#seal(purpose, { i: this.#id, l: url.href, m: method });
    return sealed && this.#here(`/_perch/at/${sealed}`);
  }

  /** A seal of the same prediction is the same in every answer. */
  #seal(purpose: Purpose, more: Partial<Context>): Promise<string | undefined> {
    const { context } = this.#about;
    const t = context?.t ?? Math.floor(Date.now() / 1000);
    const x = context?.x ?? t + validS;
    return seal(this.#p.env, { ...context, t, x, l: "", m: "", ...more, p: purpose });
  }
}
