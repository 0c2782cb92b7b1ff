package upstream

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// decodeBody reads a JSON object whose required properties must be there.
func decodeBody[T any](x *exchange, required ...string) (body T, bad *problem) {
	raw, bad := x.wholeBody()
	if bad != nil {
		return body, bad
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return body, problemNoObject
	}
	var missing []string
	for _, name := range required {
		if fields[name] == nil || isNull(fields[name]) {
			missing = append(missing, "- (root): "+name+" is required")
		}
	}
	if len(missing) > 0 {
		return body, invalidInput(strings.Join(missing, "\n"))
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return body, invalidInput("- " + wrong.Field + ": Invalid type. Expected: " + wrong.Type.String())
		}
		return body, problemNoObject
	}
	return body, nil
}

var problemNoObject = &problem{Title: "Bad request", Detail: "The body is not a JSON object", Status: http.StatusBadRequest}

func (x *exchange) wholeBody() ([]byte, *problem) {
	raw, err := x.body()
	if errors.Is(err, errTooLarge) {
		return nil, &problem{Detail: err.Error(), Status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		x.w.gone = true
		return nil, &problem{Detail: "read body: " + err.Error(), Status: http.StatusBadRequest}
	}
	return raw, nil
}
