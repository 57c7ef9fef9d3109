package main

import (
	"github.com/awslabs/operatorpkg/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

const autoMode = "eks.amazonaws.com"

// NodeClass stands for EKS Auto Mode's. Karpenter reads nothing of it but its Ready condition.
type NodeClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            NodeClassStatus `json:"status,omitempty"`
}

// NodeClassStatus holds the conditions; the CRD's default says Ready.
type NodeClassStatus struct {
	Conditions []status.Condition `json:"conditions,omitempty"`
}

// NodeClassList is a list of NodeClass.
type NodeClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeClass `json:"items"`
}

func registerNodeClass() {
	version := schema.GroupVersion{Group: autoMode, Version: "v1"}
	metav1.AddToGroupVersion(scheme.Scheme, version)
	scheme.Scheme.AddKnownTypes(version, &NodeClass{}, &NodeClassList{})
}

// StatusConditions implements status.Object.
func (in *NodeClass) StatusConditions() status.ConditionSet {
	return status.NewReadyConditions().For(in)
}

// GetConditions implements status.Object.
func (in *NodeClass) GetConditions() []status.Condition { return in.Status.Conditions }

// SetConditions implements status.Object.
func (in *NodeClass) SetConditions(conditions []status.Condition) { in.Status.Conditions = conditions }

// DeepCopyObject implements runtime.Object.
func (in *NodeClass) DeepCopyObject() runtime.Object { return in.copy() }

func (in *NodeClass) copy() *NodeClass {
	out := &NodeClass{TypeMeta: in.TypeMeta}
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	for i := range in.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, *in.Status.Conditions[i].DeepCopy())
	}
	return out
}

// DeepCopyObject implements runtime.Object.
func (in *NodeClassList) DeepCopyObject() runtime.Object {
	out := &NodeClassList{TypeMeta: in.TypeMeta, ListMeta: *in.ListMeta.DeepCopy()}
	for i := range in.Items {
		out.Items = append(out.Items, *in.Items[i].copy())
	}
	return out
}
