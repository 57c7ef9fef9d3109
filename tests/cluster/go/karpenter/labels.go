package main

import (
	"regexp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	karpenter "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/scheduling"
)

const gpuResource = "nvidia.com/gpu"

// What a GPU family carries: name and memory in MiB of one GPU.
var gpus = map[string]struct {
	name   string
	memory int
}{
	"g5":  {"a10g", 24576},
	"g6":  {"l4", 24576},
	"g6e": {"l40s", 49152},
	"p5":  {"h100", 81920},
}

// An instance type's name: category letters, generation, further letters, size.
var typeName = regexp.MustCompile(`^(([a-z]+)([0-9]+)[a-z]*)\.(.+)$`)

// withAutoModeLabels derives the labels that EKS Auto Mode puts on its nodes.
// Source: EKS documentation, "Create a node pool for EKS Auto Mode".
func withAutoModeLabels(instanceType *cloudprovider.InstanceType) {
	parts := typeName.FindStringSubmatch(instanceType.Name)
	labels := map[string]string{
		"instance-family":     parts[1],
		"instance-category":   parts[2],
		"instance-generation": parts[3],
		"instance-size":       parts[4],
		"instance-cpu":        instanceType.Capacity.Cpu().String(),
		"instance-memory":     strconv.FormatInt(instanceType.Capacity.Memory().Value()>>20, 10),
		"compute-type":        "auto",
	}
	gpuLabels := map[string]string{"instance-gpu-manufacturer": "", "instance-gpu-name": "", "instance-gpu-count": "", "instance-gpu-memory": ""}
	if count, has := instanceType.Capacity[gpuResource]; has {
		gpu := gpus[parts[1]]
		gpuLabels = map[string]string{
			"instance-gpu-manufacturer": "nvidia",
			"instance-gpu-name":         gpu.name,
			"instance-gpu-count":        count.String(),
			"instance-gpu-memory":       strconv.Itoa(gpu.memory),
		}
	}
	for _, group := range []map[string]string{labels, gpuLabels} {
		for name, value := range group {
			require(instanceType, autoMode+"/"+name, value)
		}
	}
}

// require makes the label well known and says what this type offers of it; no value means that it has no such label.
func require(instanceType *cloudprovider.InstanceType, label, value string) {
	karpenter.WellKnownLabels.Insert(label)
	if value == "" {
		instanceType.Requirements.Add(scheduling.NewRequirement(label, corev1.NodeSelectorOpDoesNotExist))
		return
	}
	instanceType.Requirements.Add(scheduling.NewRequirement(label, corev1.NodeSelectorOpIn, value))
}
