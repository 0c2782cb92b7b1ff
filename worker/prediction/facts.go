package prediction

import (
	"unicode/utf8"

	"perch/shared/jsonstream"
	"perch/shared/lean"
)

// Facts is what an answer says of one prediction or training. Times are epoch
// milliseconds, durations milliseconds; 0 and "" are unknown.
type Facts struct {
	ID, Status, Version, Model, Deployment  string
	Error                                   string // the first MaxErrorBytes of it
	Webhook                                 string
	HasOutput                               bool // output is there, and not null
	PredictMS, TotalMS                      int64
	CreatedAtMS, StartedAtMS, CompletedAtMS int64
}

// MaxErrorBytes is how much of an error a Facts keeps.
const MaxErrorBytes = 200

// maxFactBytes is the longest text that is a fact, but for the texts of slots.
const maxFactBytes = 512

// field is a member of an answer that matters.
type field uint8

const (
	noField field = iota
	// What facts keep as text; the first is the first in facts.texts.
	fieldID
	fieldStatus
	fieldVersion
	fieldModel
	fieldDeployment
	fieldError
	fieldWebhook
	lastText = fieldWebhook
)

const (
	// What facts keep as numbers.
	fieldPredict field = lastText + 1 + iota
	fieldTotal
	fieldCreated
	fieldStarted
	fieldCompleted
	lastNumber = fieldCompleted
)

const (
	fieldOutput field = lastNumber + 1 + iota
	fieldMetrics
	fieldURLs
	fieldGet
	fieldCancel
	fieldStream
	fieldNext
	fieldPrevious
	fieldResults
)

func predictionField(key string) field {
	switch key {
	case "id":
		return fieldID
	case "status":
		return fieldStatus
	case "version":
		return fieldVersion
	case "model":
		return fieldModel
	case "deployment":
		return fieldDeployment
	case "error":
		return fieldError
	case "webhook":
		return fieldWebhook
	case "created_at":
		return fieldCreated
	case "started_at":
		return fieldStarted
	case "completed_at":
		return fieldCompleted
	case "output":
		return fieldOutput
	case "metrics":
		return fieldMetrics
	case "urls":
		return fieldURLs
	}
	return noField
}

func innerField(of field, key string) field {
	switch {
	case of == fieldURLs && key == "get":
		return fieldGet
	case of == fieldURLs && key == "cancel":
		return fieldCancel
	case of == fieldURLs && key == "stream":
		return fieldStream
	case of == fieldMetrics && key == "predict_time":
		return fieldPredict
	case of == fieldMetrics && key == "total_time":
		return fieldTotal
	}
	return noField
}

func listField(key string) field {
	switch key {
	case "next":
		return fieldNext
	case "previous":
		return fieldPrevious
	case "results":
		return fieldResults
	}
	return noField
}

// facts collects Facts in memory that is used again.
type facts struct {
	texts     [lastText + 1][]byte
	numbers   [lastNumber + 1]int64
	hasOutput bool
}

func (f *facts) reset() {
	for i := range f.texts {
		f.texts[i] = f.texts[i][:0]
	}
	f.numbers = [lastNumber + 1]int64{}
	f.hasOutput = false
}

// begin makes room for a value of the field: of repeated ones the last counts.
func (f *facts) begin(of field, kind jsonstream.Kind) {
	switch {
	case of == fieldOutput:
		f.hasOutput = kind != jsonstream.Null
	case of == fieldMetrics:
		f.numbers[fieldPredict], f.numbers[fieldTotal] = 0, 0
	case of <= lastText:
		f.texts[of] = f.texts[of][:0]
	case of <= lastNumber:
		f.numbers[of] = 0
	}
}

// set takes the whole text of a string or number.
func (f *facts) set(of field, kind jsonstream.Kind, text []byte) {
	isText := kind == jsonstream.String
	switch {
	case of <= lastText && isText:
		f.texts[of] = append(f.texts[of], text...)
	case (of == fieldPredict || of == fieldTotal) && !isText:
		f.numbers[of] = milliseconds(text)
	case of >= fieldCreated && of <= lastNumber && isText:
		f.numbers[of] = epochMS(text)
	}
}

func (f *facts) get() Facts {
	text := func(of field) string { return string(f.texts[of]) }
	return Facts{
		ID: text(fieldID), Status: text(fieldStatus), Version: text(fieldVersion), Model: text(fieldModel),
		Deployment: text(fieldDeployment), Error: text(fieldError), Webhook: text(fieldWebhook), HasOutput: f.hasOutput,
		PredictMS: f.numbers[fieldPredict], TotalMS: f.numbers[fieldTotal],
		CreatedAtMS: f.numbers[fieldCreated], StartedAtMS: f.numbers[fieldStarted], CompletedAtMS: f.numbers[fieldCompleted],
	}
}

var factNames = [lastNumber + 1]string{
	fieldID: "id", fieldStatus: "status", fieldVersion: "version", fieldModel: "model", fieldDeployment: "deployment",
	fieldError: "error", fieldWebhook: "webhook", fieldPredict: "predictMS", fieldTotal: "totalMS",
	fieldCreated: "createdAtMS", fieldStarted: "startedAtMS", fieldCompleted: "completedAtMS",
}

// appendJSON writes the facts as the host reads them.
func (f *facts) appendJSON(dst []byte) []byte {
	if f.hasOutput {
		dst = append(dst, `{"hasOutput":true`...)
	} else {
		dst = append(dst, `{"hasOutput":false`...)
	}
	for of := fieldID; of <= lastNumber; of++ {
		dst = append(append(append(dst, `,"`...), factNames[of]...), `":`...)
		if of <= lastText {
			dst = jsonstream.AppendString(dst, view(f.texts[of]))
		} else {
			dst = lean.AppendInt(dst, f.numbers[of])
		}
	}
	return append(dst, '}')
}

// firstOf returns at most n bytes of a text, and no half character.
func firstOf(text []byte, n int) []byte {
	if len(text) <= n {
		return text
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return text[:i]
		}
	}
	return text[:n]
}
