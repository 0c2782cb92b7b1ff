package upstream

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// Operation is one call of Replicate's HTTP API.
type Operation struct {
	Method   string
	Path     string // below /v1, parameters in braces
	ID       string
	Creates  bool  // starts a prediction
	Statuses []int // that Replicate documents
}

// open says whether the URL alone lets a call in.
func (o Operation) open() bool { return o.ID == "files.download" }

func (o Operation) call() Call {
	switch {
	case o.Creates:
		return CallCreate
	case o.ID == "predictions.get":
		return CallGet
	case o.ID == "predictions.cancel":
		return CallCancel
	}
	return CallOther
}

//go:embed operations.tsv
var operationTable string

// Operations lists every call of Replicate's HTTP API.
func Operations() []Operation {
	operations, err := parseOperations(operationTable)
	if err != nil {
		panic(fmt.Sprintf("parse operations.tsv: %v", err)) // embedded: wrong at build time or never
	}
	return operations
}

func parseOperations(table string) ([]Operation, error) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	var operations []Operation
	for i, line := range lines[1:] {
		fields := strings.Split(line, "\t")
		if len(fields) != 5 {
			return nil, fmt.Errorf("line %d: %d columns, want 5", i+2, len(fields))
		}
		o := Operation{
			Method: fields[0], Path: fields[1], ID: fields[2], Creates: fields[3] == "yes",
		}
		for text := range strings.SplitSeq(fields[4], ",") {
			status, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("line %d: status %q", i+2, text)
			}
			o.Statuses = append(o.Statuses, status)
		}
		operations = append(operations, o)
	}
	return operations, nil
}

// handlers has one for each operation.
func (s *Server) handlers() map[string]func(*exchange) {
	return map[string]func(*exchange){
		"account.get":                    s.getAccount,
		"files.list":                     s.listFiles,
		"files.create":                   s.createFile,
		"files.get":                      s.getFile,
		"files.delete":                   s.deleteFile,
		"files.download":                 s.downloadFile,
		"hardware.list":                  s.listHardware,
		"collections.list":               s.listCollections,
		"collections.get":                s.getCollection,
		"search":                         s.search,
		"deployments.list":               s.listDeployments,
		"deployments.create":             s.createDeployment,
		"deployments.get":                s.getDeployment,
		"deployments.update":             s.updateDeployment,
		"deployments.delete":             s.deleteDeployment,
		"models.list":                    s.listModels,
		"models.create":                  s.createModel,
		"models.search":                  s.searchModels,
		"models.get":                     s.getModel,
		"models.update":                  s.updateModel,
		"models.delete":                  s.deleteModel,
		"models.readme.get":              s.getReadme,
		"models.examples.list":           s.listExamples,
		"models.versions.delete":         s.deleteVersion,
		"trainings.create":               s.createTraining,
		"trainings.list":                 s.listTrainings,
		"trainings.get":                  s.getTraining,
		"trainings.cancel":               s.cancelTraining,
		"models.versions.list":           s.listVersions,
		"models.versions.get":            s.getVersion,
		"predictions.create":             s.createByVersion,
		"models.predictions.create":      s.createByModel,
		"deployments.predictions.create": s.createByDeployment,
		"predictions.list":               s.listPredictions,
		"predictions.get":                s.getPrediction,
		"predictions.cancel":             s.cancelPrediction,
		"webhooks.default.secret.get":    s.getWebhookSecret,
	}
}
