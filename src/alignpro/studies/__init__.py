"""Many runs side by side: methods over seeds, the paper's grid."""
