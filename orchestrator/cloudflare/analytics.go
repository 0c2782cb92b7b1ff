package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrNoData reports a dataset, or a column of it, that was never written. It
// is not an empty answer of a dataset that exists: that is no rows.
var ErrNoData = errors.New("no data was written yet")

// maxAnswerBytes bounds what is read of an answer.
const maxAnswerBytes = 16 << 20

// Analytics asks Workers Analytics Engine by SQL. The client library has no call
// for it, and its generic one costs a 24 MB binary: hence net/http.
type Analytics struct {
	config  Config
	retrier *retrier
}

// NewAnalytics returns the source of the account's datasets.
func NewAnalytics(config Config) *Analytics {
	return &Analytics{config: config, retrier: newRetrier()}
}

// Query returns the rows of one SQL statement, or ErrNoData.
func (a *Analytics) Query(ctx context.Context, sql string) ([]Row, error) {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	rows, err := a.query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("query analytics: %w", err)
	}
	return rows, nil
}

func (a *Analytics) query(ctx context.Context, sql string) ([]Row, error) {
	address := a.config.baseURL() + "/accounts/" + url.PathEscape(a.config.Account) + "/analytics_engine/sql"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(sql))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.config.Token)
	req.Header.Set("Content-Type", "text/plain")
	res, err := a.retrier.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return nil, err
	}
	switch {
	case res.StatusCode == http.StatusOK:
		return decodeRows(body)
	case res.StatusCode == http.StatusUnprocessableEntity && bytes.Contains(body, []byte("unable to find type of column")):
		return nil, ErrNoData
	}
	return nil, refusal(res.StatusCode, body)
}

func decodeRows(body []byte) ([]Row, error) {
	var answer struct {
		Data *[]Row `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if answer.Data == nil {
		return nil, errors.New("read answer: it has no data member")
	}
	return *answer.Data, nil
}

// Row is one row of an answer, by column name.
type Row map[string]any

// Float returns a number, which Analytics Engine writes as a JSON number or, if
// it has 64 bits, as a string. A null, such as a quantile of nothing, is NaN.
func (r Row) Float(name string) (float64, error) {
	value, found := r[name]
	if !found {
		return 0, fmt.Errorf("read column %s: it is not in the answer", name)
	}
	var text string
	switch v := value.(type) {
	case nil:
		return math.NaN(), nil
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("read column %s: %v is not a number", name, value)
	}
	return n, nil
}

// Text returns a text column.
func (r Row) Text(name string) (string, error) {
	value, found := r[name]
	if !found {
		return "", fmt.Errorf("read column %s: it is not in the answer", name)
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("read column %s: %v is not a text", name, value)
	}
	return text, nil
}
