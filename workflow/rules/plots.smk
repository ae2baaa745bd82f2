rule plots:
    message:
        "Plots of recordings, features, f-I curves and impedance."
    input:
        plan.plot_outputs(),


rule plot_recordings:
    message:
        "Draw the sweeps of {wildcards.cell}."
    input:
        lambda wildcards: plan.plot_recordings_inputs(wildcards.cell),
    output:
        f"{RESULTS}/plots/recordings/{{cell}}.pdf",
    params:
        item=lambda wildcards: plan.settings("plot_recordings", wildcards.cell),
        code=plan.code["plot_recordings"],
    log:
        f"{LOGS}/plot_recordings/{{cell}}.log",
    benchmark:
        f"{LOGS}/plot_recordings/{{cell}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "ephysflow plot-recordings --plan {plan_file:q} --item {wildcards.cell:q} > {log:q} 2>&1"


rule plot_efeatures:
    message:
        "Draw features against amplitude with their targets (set '{wildcards.target_set}')."
    input:
        lambda wildcards: plan.plot_efeatures_inputs(wildcards.target_set),
    output:
        f"{RESULTS}/plots/efeatures/{{target_set}}features.pdf",
    params:
        item=lambda wildcards: plan.settings("plot_efeatures", wildcards.target_set),
        code=plan.code["plot_efeatures"],
    log:
        f"{LOGS}/plot_efeatures/{{target_set}}features.log",
    benchmark:
        f"{LOGS}/plot_efeatures/{{target_set}}features.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "ephysflow plot-efeatures --plan {plan_file:q} --item '{wildcards.target_set}' > {log:q} 2>&1"


rule plot_overview:
    message:
        "Draw f-I curves, impedance and the summary figure."
    input:
        plan.overview_inputs(),
    output:
        report(
            plan.overview_outputs()[0], caption="../report/fi_curves.rst", category="Overview"
        ),
        plan.overview_outputs()[1],
        report(
            plan.overview_outputs()[2], caption="../report/summary.rst", category="Overview"
        ),
    params:
        item=plan.settings("plot_overview") if plan.sets else "",
        code=plan.code["plot_overview"],
    log:
        f"{LOGS}/plot_overview.log",
    benchmark:
        f"{LOGS}/plot_overview.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    shell:
        "ephysflow plot-overview --plan {plan_file:q} > {log:q} 2>&1"
