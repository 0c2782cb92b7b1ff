package reactor

import (
	"perch/shared/telemetry"
	"perch/worker/prediction"
)

type (
	finders = slots[*prediction.Finder]
	editors = slots[*prediction.Editor]
	answers = slots[*prediction.Answer]
)

// bodies holds what reads and rewrites bodies: by handle those that come in
// chunks, one of each for whole ones.
type bodies struct {
	finders finders
	editors editors
	answers answers
	finder  prediction.Finder
	editor  prediction.Editor
	answer  prediction.Answer
}

// OpenFinder begins the search for a body's version and returns its handle.
func (r *Reactor) OpenFinder() uint32 { return r.finders.add(new(prediction.Finder)) }

// PushFinder reads the next n bytes of the body and returns a
// prediction.Status; while it is Found, Output is the version.
func (r *Reactor) PushFinder(handle, n uint32) uint32 {
	f := r.finders.get(handle)
	return r.searched(f, f.Push(r.Input[:n]))
}

// CloseFinder returns the status where the body ends, and forgets the finder.
func (r *Reactor) CloseFinder(handle uint32) uint32 {
	status := r.finders.get(handle).Close()
	r.finders.remove(handle)
	return uint32(status)
}

// Find searches a whole body of n bytes at once; it answers like PushFinder.
func (r *Reactor) Find(n uint32) uint32 {
	r.finder.Reset()
	r.finder.Push(r.Input[:n])
	return r.searched(&r.finder, r.finder.Close())
}

func (r *Reactor) searched(f *prediction.Finder, status prediction.Status) uint32 {
	r.Output = nil
	if status == prediction.Found {
		r.begin(f.Version())
	}
	return uint32(status)
}

// What an editor does, as flags.
const (
	EditVersion = 1 << iota // sets the version that is given, or removes the body's if none is
	EditWebhook             // takes the webhook out
)

func change(flags uint32, version []byte) prediction.Change {
	c := prediction.Change{Webhook: flags&EditWebhook != 0}
	if flags&EditVersion != 0 {
		c.Version, c.Remove = string(version), true
	}
	return c
}

// OpenEditor begins to rewrite a body, for which the input's n bytes are the
// version, and returns its handle.
func (r *Reactor) OpenEditor(n, flags uint32) uint32 {
	return r.editors.add(prediction.NewEditor(change(flags, r.Input[:n])))
}

// PushEditor reads the next n bytes of the body; Output is their frames.
func (r *Reactor) PushEditor(handle, n uint32) {
	r.Output = r.editors.get(handle).Push(r.Input[:n])
}

// CloseEditor leaves the frames of what was still held back in Output and
// forgets the editor.
func (r *Reactor) CloseEditor(handle uint32) {
	r.Output = r.editors.get(handle).Close()
	r.editors.remove(handle)
}

// Edit rewrites a whole body at once, behind which its new version stands.
// Output is its frames; or it returns prediction.Duplicate or Malformed, and the
// body should go on as it is.
func (r *Reactor) Edit(bodyBytes, versionBytes, flags uint32) uint32 {
	r.editor.Reset(change(flags, r.Input[bodyBytes:bodyBytes+versionBytes]))
	r.Output = r.editor.Push(r.Input[:bodyBytes])
	if status := r.editor.End(); status != prediction.Searching {
		r.Output = nil
		return uint32(status)
	}
	return 0
}

// OpenAnswer begins to read an answer of a shape and returns its handle.
func (r *Reactor) OpenAnswer(shape uint32) uint32 {
	return r.answers.add(prediction.NewAnswer(prediction.Shape(shape)))
}

// PushAnswer reads the next n bytes of the answer; Output is their frames.
func (r *Reactor) PushAnswer(handle, n uint32) {
	r.Output = r.answers.get(handle).Push(r.Input[:n])
}

// AnswerFacts leaves the facts that are known so far in Output, as JSON.
func (r *Reactor) AnswerFacts(handle uint32) {
	r.text = r.answers.get(handle).AppendFacts(r.text[:0])
	r.Output = r.text
}

// CloseAnswer leaves the frames of what was still held back in Output, the facts
// behind them, and forgets the answer.
func (r *Reactor) CloseAnswer(handle uint32) {
	r.Output = r.answers.get(handle).Close()
	r.answers.remove(handle)
}

// Answer reads a whole answer of n bytes at once; Output is its frames, the facts
// behind them.
func (r *Reactor) Answer(n, shape uint32) {
	r.answer.Reset(prediction.Shape(shape))
	r.text = append(r.text[:0], r.answer.Push(r.Input[:n])...)
	r.text = append(r.text, r.answer.Close()...)
	r.Output = r.text
}

// What an answer is, as flags of Ended.
const (
	AnswerSynchronous = 1 << iota // the client waits for the prediction's end in it
	AnswerHasOutput
	AnswerHasError
)

// Ended reads a prediction's status of n bytes and puts how it ended into Output.
func (r *Reactor) Ended(n, httpStatus, flags uint32) {
	f := prediction.Facts{Status: r.input(n), HasOutput: flags&AnswerHasOutput != 0}
	if flags&AnswerHasError != 0 {
		f.Error = telemetry.EndedFailed
	}
	r.begin(prediction.Ended(f, int(httpStatus), flags&AnswerSynchronous != 0))
}
