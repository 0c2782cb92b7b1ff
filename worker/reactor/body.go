package reactor

import "perch/worker/prediction"

type (
	finders = slots[*prediction.Finder]
	editors = slots[*prediction.Editor]
)

// OpenFinder begins the search for a body's version and returns its handle.
func (r *Reactor) OpenFinder() uint32 { return r.finders.add(new(prediction.Finder)) }

// PushFinder reads the next n bytes of the body and returns a
// prediction.Status; once it is Found, Output is the version.
func (r *Reactor) PushFinder(handle, n uint32) uint32 {
	f := r.finders.get(handle)
	return r.searched(f, f.Push(r.Input[:n]))
}

// CloseFinder forgets a finder.
func (r *Reactor) CloseFinder(handle uint32) { r.finders.remove(handle) }

// OpenEditor begins to rewrite a body whose version becomes the input, or is
// removed if n is 0.
func (r *Reactor) OpenEditor(n uint32) uint32 {
	return r.editors.add(prediction.NewEditor(string(r.Input[:n])))
}

// PushEditor reads the next n bytes of the body; Output is what to pass on.
func (r *Reactor) PushEditor(handle, n uint32) {
	r.Output = r.editors.get(handle).Push(r.Input[:n])
}

// CloseEditor leaves what was still held back in Output and forgets the editor.
func (r *Reactor) CloseEditor(handle uint32) {
	r.Output = r.editors.get(handle).Close()
	r.editors.remove(handle)
}

// Find searches a whole body of n bytes at once; it answers like PushFinder.
func (r *Reactor) Find(n uint32) uint32 {
	r.finder = prediction.Finder{}
	return r.searched(&r.finder, r.finder.Push(r.Input[:n]))
}

func (r *Reactor) searched(f *prediction.Finder, status prediction.Status) uint32 {
	r.Output = nil
	if status == prediction.Found {
		r.text = append(r.text[:0], f.Version()...)
		r.Output = r.text
	}
	return uint32(status)
}

// Edit rewrites a whole body at once, behind which its new version stands, or
// nothing for it to be removed. Output is the body to pass on.
func (r *Reactor) Edit(bodyBytes, versionBytes uint32) {
	e := prediction.NewEditor(string(r.Input[bodyBytes : bodyBytes+versionBytes]))
	r.text = append(append(r.text[:0], e.Push(r.Input[:bodyBytes])...), e.Close()...)
	r.Output = r.text
}
