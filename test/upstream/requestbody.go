package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// createBody is the body of a call that creates a prediction.
type createBody struct {
	version string
	input   json.RawMessage
	keys    map[string]json.RawMessage // of input
	webhook webhook
}

// parseCreate checks a create call's body: input is required, version is required or refused, and nothing unknown is
// let through. It collects every complaint.
func parseCreate(body []byte, wantsVersion bool) (createBody, *problem) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return createBody{}, problemNoObject
	}
	var parsed createBody
	var complaints []string
	complain := func(format string, args ...any) {
		complaints = append(complaints, "- "+fmt.Sprintf(format, args...))
	}
	parsed.input = fields["input"]
	if fields["input"] == nil {
		complain("(root): input is required")
	} else if json.Unmarshal(fields["input"], &parsed.keys) != nil || parsed.keys == nil {
		complain("input: Invalid type. Expected: object")
	}
	if wantsVersion {
		if fields["version"] == nil {
			complain("(root): version is required")
		} else if json.Unmarshal(fields["version"], &parsed.version) != nil || isNull(fields["version"]) {
			complain("version: Invalid type. Expected: string")
		}
	}
	for _, name := range sortedKeys(fields) {
		if message := checkField(name, fields[name], wantsVersion); message != "" {
			complain("%s", message)
		}
	}
	parsed.webhook = readWebhook(fields)
	if len(complaints) > 0 {
		return createBody{}, invalidInput(strings.Join(complaints, "\n"))
	}
	return parsed, nil
}

// readWebhook leaves complaints about the two fields to checkField.
func readWebhook(fields map[string]json.RawMessage) (w webhook) {
	_ = json.Unmarshal(fields["webhook"], &w.url)
	_ = json.Unmarshal(fields["webhook_events_filter"], &w.events)
	return w
}

// checkField returns what is wrong with the other fields, or nothing.
func checkField(name string, value json.RawMessage, wantsVersion bool) string {
	switch name {
	case "input":
	case "version":
		if !wantsVersion {
			return "(root): Additional property version is not allowed"
		}
	case "stream":
		var flag bool
		if json.Unmarshal(value, &flag) != nil {
			return "stream: Invalid type. Expected: boolean"
		}
	case "webhook":
		var url string
		if json.Unmarshal(value, &url) != nil {
			return "webhook: Invalid type. Expected: string"
		}
	case "webhook_events_filter":
		var events []string
		if json.Unmarshal(value, &events) != nil {
			return "webhook_events_filter: Invalid type. Expected: array of strings"
		}
		for _, event := range events {
			if !slices.Contains(webhookEvents, event) {
				return fmt.Sprintf("webhook_events_filter: %q is none of %s", event, strings.Join(webhookEvents, ", "))
			}
		}
	default:
		return fmt.Sprintf("(root): Additional property %s is not allowed", name)
	}
	return ""
}

// checkInput complains about inputs that the version needs and did not get.
func (v *version) checkInput(keys map[string]json.RawMessage) *problem {
	var missing []string
	for _, key := range v.Required {
		if keys[key] == nil {
			missing = append(missing, fmt.Sprintf("- input: %s is required", key))
		}
	}
	if len(missing) > 0 {
		return invalidInput(strings.Join(missing, "\n"))
	}
	return nil
}

func isNull(value json.RawMessage) bool { return bytes.Equal(value, []byte("null")) }

func sortedKeys(fields map[string]json.RawMessage) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
