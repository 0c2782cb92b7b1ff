package upstream

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
)

// page is one page of a list.
type page[T any] struct {
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []T     `json:"results"`
}

// paginate answers with the page of items that the query's cursor asks for. A key tells items apart; show makes of an
// item what the answer has of it.
func paginate[I, R any](s *Server, x *exchange, items []I, key func(I) string, show func(I) R) {
	from, to, ok := pageBounds(items, key, s.options.PageSize, x.r.URL.Query().Get("cursor"))
	if !ok {
		x.fail(&problem{Title: "Not found", Detail: "Invalid cursor", Status: http.StatusNotFound})
		return
	}
	answer := page[R]{Results: make([]R, 0, to-from)}
	for _, item := range items[from:to] {
		answer.Results = append(answer.Results, show(item))
	}
	if to < len(items) && to > 0 {
		answer.Next = s.pageURL(x, url.Values{"p": {key(items[to-1])}})
	}
	if from > 0 && from < len(items) {
		answer.Previous = s.pageURL(x, url.Values{"p": {key(items[from])}, "r": {"1"}})
	}
	x.answer(http.StatusOK, answer)
}

// pageBounds are the items after the cursor's one, or before it when the cursor goes back.
func pageBounds[I any](items []I, key func(I) string, size int, cursor string) (from, to int, ok bool) {
	if cursor == "" {
		return 0, min(size, len(items)), true
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, 0, false
	}
	position, err := url.ParseQuery(string(text))
	if err != nil {
		return 0, 0, false
	}
	at := slices.IndexFunc(items, func(item I) bool { return key(item) == position.Get("p") })
	if at < 0 {
		return 0, 0, false
	}
	if position.Has("r") {
		return max(0, at-size), at, true
	}
	return at + 1, min(at+1+size, len(items)), true
}

// pageURL is the request's URL with another cursor.
func (s *Server) pageURL(x *exchange, position url.Values) *string {
	query := x.r.URL.Query()
	query.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(position.Encode())))
	link := s.origin(x.r) + x.r.URL.EscapedPath() + "?" + query.Encode()
	return &link
}
